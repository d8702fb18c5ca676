"""Before any route below an account: who asks, whether the account is theirs, and how often they ask."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backup_agent.api import faults
from backup_agent.api.callers import Caller
from backup_agent.api.services import Services

_ROOT = "/v1.0/"


class Gate:
    """ASGI. The caller is then in `request.state.caller`."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account_id = _account(scope)
        if account_id is not None:
            try:
                caller = await self._admitted(Headers(scope=scope).get("x-auth-token", ""), account_id)
                scope.setdefault("state", {})["caller"] = caller
                self._services.limiter.admit(scope["method"], caller.account_id)
            except faults.Fault as fault:
                await faults.response(fault)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admitted(self, token: str, account_id: str) -> Caller:
        authenticator = self._services.authenticator
        caller = authenticator.remembered(token)
        if caller is None and token:
            caller = await run_in_threadpool(authenticator.caller, token)
        if caller is None:
            raise faults.unauthorized()
        if caller.account_id != account_id:
            raise faults.forbidden()
        return caller


def _account(scope: Scope) -> str | None:
    """The path's; None where no account is spoken of."""
    if scope["type"] != "http" or not scope["path"].startswith(_ROOT):
        return None
    return str(scope["path"]).removeprefix(_ROOT).split("/", 1)[0] or None

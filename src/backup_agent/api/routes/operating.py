"""What the routes of operations on instances have in common: ask, wait for the agent's answer, and answer with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backup_agent.api import answers, faults, paging
from backup_agent.api.answers import DatabasesListed, UsersListed
from backup_agent.api.catalogue.operating import Asked, ask
from backup_agent.api.openapi import OPERATION_HEADER
from backup_agent.api.routes.addresses import own_url
from backup_agent.api.routes.broker import refuse_without_broker
from backup_agent.api.services import caller, services
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.instance_command import InstanceCommandType
from backup_agent.errors import CatalogueError

NAME = "name"
"""The kind of a path's last part that may hold anything, when it is encoded: `{user:name}`."""
_PARTS = 7
"""Of /v1.0/ACCOUNT/instances/ID/databases/NAME, with the empty one before it."""


class _Anything(Convertor[str]):
    """Starlette's own `path` stops at a line break, which the name of a database may have."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(NAME, _Anything())


async def change(request: Request, instance_id: str, command: InstanceCommandType, data: Mapping[str, Any]) -> Response:
    """202 when it was done, or when nobody has answered soon; raises Fault when it was not done."""
    known = services(request)
    operation_id = await run_in_threadpool(_ask, request, Asked(_canonical(instance_id), command, data))
    headers = {OPERATION_HEADER: operation_id}
    try:
        ended = await known.waiters.answered(operation_id, known.operations.change_wait)
    except CatalogueError:
        ended = None  # it was asked for all the same, and can be looked up when the database is back
    fault = None if ended is None else answers.fault_of(ended)
    if fault is not None:
        fault.headers |= headers
        raise fault
    return Response(status_code=202, headers=headers)


async def listing(
    request: Request,
    instance_id: str,
    command: InstanceCommandType,
    key: str,
    kind: type[DatabasesListed | UsersListed],
) -> Response:
    """A page, under `key`. Raises Fault, also (503) when nobody has answered in time."""
    known, asked = services(request), request.query_params
    page = paging.names_asked(asked.get("limit"), asked.get("marker"))
    data = {"limit": page.limit, **({} if page.after is None else {"marker": page.after})}
    operation_id = await run_in_threadpool(_ask, request, Asked(_canonical(instance_id), command, data))
    ended = await known.waiters.answered(operation_id, known.operations.list_wait)
    if ended is None:
        raise faults.unavailable("The instance's agent has not answered in time. Try again later.")
    fault = answers.fault_of(ended)
    if fault is not None:
        raise fault
    found = answers.listed(ended, kind)
    shown: dict[str, Any] = {key: [answers.shown(item) for item in found.items]}
    if found.next_marker is not None:
        shown["links"] = [paging.next_link(own_url(request), asked, paging.marker_of_name(found.next_marker))]
    return JSONResponse(shown)


def name_in_path(request: Request) -> str:
    """The path's last part as it was before it was encoded: it may hold anything, encoded slashes too.

    Raises Fault (404) for more than one part, and (400) for what is not UTF-8.
    """
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    parts = raw.split(b"?", 1)[0].split(b"/")
    if len(parts) != _PARTS:
        raise faults.no_such_path()
    try:
        return unquote_to_bytes(parts[-1]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise faults.bad_request("The name in the path is not UTF-8.") from error


def _ask(request: Request, asked: Asked) -> str:
    known = services(request)
    refuse_without_broker(known)
    return ask(known.database, asked, caller(request).scope, known.operations.begin_within, known.now())


def _canonical(instance_id: str) -> str:
    if not is_uuid(instance_id.lower()):
        raise faults.not_found(instance_id)
    return instance_id.lower()

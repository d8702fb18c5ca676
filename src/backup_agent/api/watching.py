"""Around everything: a request's id, its line in the log, its count in the metrics, and an answer when we fail."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backup_agent.api import faults

log = structlog.get_logger(__name__)

ID_HEADER = "X-OpenStack-Request-ID"
_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNROUTED = "none"
_QUIET = frozenset({"/healthcheck"})
"""Asked every few seconds, by those who know the answer."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Made once per process: the names are registered with Prometheus's library."""

    def __init__(self) -> None:
        self.requests = Counter(
            "backup_api_requests", "Requests answered, by method, route and status.", ("method", "route", "status")
        )
        self.seconds = Histogram(
            "backup_api_request_seconds",
            "How long they took.",
            ("method", "route"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )


class Watching:
    """ASGI, outermost."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(ID_HEADER, "")
        request_id = given if _ID.fullmatch(given) else f"req-{uuid.uuid4()}"
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[ID_HEADER] = request_id
            await send(message)

        started = time.monotonic()
        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("a request failed", request_id=request_id, method=scope["method"], path=_shown(scope))
            if not status:
                await faults.response(faults.internal())(scope, receive, answer)
        finally:
            self._note(scope, request_id, status, time.monotonic() - started)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", _UNROUTED)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        caller = scope.get("state", {}).get("caller")
        tell = log.debug if route in _QUIET else log.info
        tell(
            "request",
            request_id=request_id,
            method=method,
            path=_shown(scope),
            status=status,
            ms=round(seconds * 1000, 1),
            account=caller.account_id if caller is not None else None,
            client=(scope.get("client") or ("",))[0],
        )


def _shown(scope: Scope) -> str:
    """A path as it may stand in a log."""
    return "".join(character if character.isprintable() else "?" for character in scope["path"][:200])

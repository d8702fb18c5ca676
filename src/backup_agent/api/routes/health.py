"""Whether this API can do its work, for load balancers and monitoring. Needs no token and tells no secret."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from backup_agent.api.catalogue import presence
from backup_agent.api.openapi import answers
from backup_agent.api.services import services
from backup_agent.errors import CatalogueError

router = APIRouter(tags=["operation"])


@router.get("/healthcheck", responses=answers(200, "Health", also=(503,)), summary="Ask whether the API works")
def healthcheck(request: Request) -> JSONResponse:
    """503 when the database or the broker is away. Without a broker, commands wait."""
    known = services(request)
    try:
        with known.database.reading() as connection:
            found = presence.look(connection, known.now())
    except CatalogueError:
        return _answer(database=False, broker=None)
    return _answer(database=True, broker=found.connected)


def _answer(*, database: bool, broker: bool | None) -> JSONResponse:
    healthy = database and broker is True
    words = {True: "ok", False: "away", None: "unknown"}
    body = {"healthy": healthy, "database": words[database], "broker": words[broker]}
    return JSONResponse(body, 200 if healthy else 503)

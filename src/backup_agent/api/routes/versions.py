"""Which versions of the API there are: one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from backup_agent.api.openapi import answers
from backup_agent.api.routes.addresses import base_url

router = APIRouter(tags=["versions"])
_UPDATED = "2026-11-25T00:00:00Z"


@router.get("/", responses=answers(200, "Versions"), summary="List the versions of the API")
async def list_versions(request: Request) -> JSONResponse:
    return JSONResponse({"versions": [_version(request)]})


@router.get("/v1.0", responses=answers(200, "Version"), include_in_schema=False)
@router.get("/v1.0/", responses=answers(200, "Version"), summary="Show the version of the API")
async def show_version(request: Request) -> JSONResponse:
    return JSONResponse({"version": _version(request)})


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v1.0",
        "status": "CURRENT",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{base_url(request)}/v1.0/"}],
    }

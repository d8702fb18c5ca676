"""What the account may have and do, and what is left of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from backup_agent.api.openapi import AccountId, answers
from backup_agent.api.services import caller, services

router = APIRouter(tags=["limits"])


@router.get("/v1.0/{account_id}/limits", responses=answers(200, "Limits"), summary="Show the limits of the account")
async def show_limits(request: Request, account_id: AccountId) -> JSONResponse:
    known = services(request)
    limits: list[dict[str, Any]] = [{"verb": "ABSOLUTE", "max_backups": known.rules.quota.limit}]
    for verb, value in known.rates.items():
        left = known.limiter.left(verb, caller(request).account_id)
        wait = timedelta(seconds=0 if left > 0 else 60 / value)
        limits.append(
            {
                "verb": verb,
                "unit": "MINUTE",
                "value": value,
                "remaining": left,
                "uri": "*",
                "regex": ".*",
                "nextAvailable": f"{known.now() + wait:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
    del account_id
    return JSONResponse({"limits": limits})

"""The databases of an instance: make, list and delete them, by its agent."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from backup_agent.api import bodies, operation_bodies
from backup_agent.api.answers import DatabasesListed
from backup_agent.api.openapi import PAGE_PARAMETERS, AccountId, DatabaseName, InstanceId, answers, body_of, changes
from backup_agent.api.routes.operating import NAME, change, listing, name_in_path
from backup_agent.api.services import services
from backup_agent.domain.instance_command import InstanceCommandType

router = APIRouter(tags=["databases"])
_PATH = "/v1.0/{account_id}/instances/{instance_id}/databases"


@router.post(
    _PATH,
    status_code=202,
    response_class=Response,
    responses=changes(also=(400, 413, 415)),
    openapi_extra=body_of("CreateDatabases"),
    summary="Create databases",
)
async def create(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """All of them, or none if one is there already."""
    del account_id
    data = operation_bodies.new_databases(await bodies.read(request, services(request).max_body))
    return await change(request, instance_id, InstanceCommandType.CREATE_DATABASES, data)


@router.get(
    _PATH,
    responses=answers(200, "Databases", also=(400, 404, 422, 500, 501)),
    openapi_extra={"parameters": PAGE_PARAMETERS},
    summary="List databases",
)
async def list_all(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """By name."""
    del account_id
    return await listing(request, instance_id, InstanceCommandType.LIST_DATABASES, "databases", DatabasesListed)


@router.delete(
    f"{_PATH}/{{database:{NAME}}}",
    status_code=202,
    response_class=Response,
    responses=changes(also=(400,)),
    summary="Delete a database",
)
async def delete(request: Request, account_id: AccountId, instance_id: InstanceId, database: DatabaseName) -> Response:
    """With all that is in it."""
    del account_id, database
    data = operation_bodies.database(name_in_path(request))
    return await change(request, instance_id, InstanceCommandType.DELETE_DATABASE, data)

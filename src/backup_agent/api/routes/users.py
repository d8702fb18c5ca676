"""The database users of an instance: make, list and delete them, by its agent."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from backup_agent.api import bodies, operation_bodies
from backup_agent.api.answers import UsersListed
from backup_agent.api.openapi import PAGE_PARAMETERS, AccountId, InstanceId, UserName, answers, body_of, changes
from backup_agent.api.routes.operating import NAME, change, listing, name_in_path
from backup_agent.api.services import services
from backup_agent.domain.instance_command import InstanceCommandType

router = APIRouter(tags=["users"])
_PATH = "/v1.0/{account_id}/instances/{instance_id}/users"


@router.post(
    _PATH,
    status_code=202,
    response_class=Response,
    responses=changes(also=(400, 413, 415)),
    openapi_extra=body_of("CreateUsers"),
    summary="Create users",
)
async def create(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """All of them, or none if one is there already. Passwords go on as hashes."""
    del account_id
    data = operation_bodies.new_users(await bodies.read(request, services(request).max_body))
    return await change(request, instance_id, InstanceCommandType.CREATE_USERS, data)


@router.get(
    _PATH,
    responses=answers(200, "Users", also=(400, 404, 422, 500, 501)),
    openapi_extra={"parameters": PAGE_PARAMETERS},
    summary="List users",
)
async def list_all(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """By name and host."""
    del account_id
    return await listing(request, instance_id, InstanceCommandType.LIST_USERS, "users", UsersListed)


@router.delete(
    f"{_PATH}/{{user:{NAME}}}",
    status_code=202,
    response_class=Response,
    responses=changes(also=(400,)),
    summary="Delete a user",
)
async def delete(request: Request, account_id: AccountId, instance_id: InstanceId, user: UserName) -> Response:
    """Its open connections stay."""
    del account_id, user
    return await change(
        request, instance_id, InstanceCommandType.DELETE_USER, operation_bodies.user(name_in_path(request))
    )

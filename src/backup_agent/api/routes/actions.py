"""What is done to the server of an instance as a whole: restart, stop, delete, by its agent."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from backup_agent.api import bodies, operation_bodies
from backup_agent.api.openapi import AccountId, InstanceId, body_of, changes
from backup_agent.api.routes.operating import change
from backup_agent.api.services import services
from backup_agent.domain.instance_command import InstanceCommandType

router = APIRouter(tags=["instances"])


# Trove's client stops an instance by the second path, which is for administrators there; here an owner may.
@router.post(
    "/v1.0/{account_id}/instances/{instance_id}/action",
    status_code=202,
    response_class=Response,
    responses=changes(also=(400, 413, 415)),
    openapi_extra=body_of("Action"),
    summary="Restart or stop an instance",
)
@router.post("/v1.0/{account_id}/mgmt/instances/{instance_id}/action", include_in_schema=False)
async def act(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """A restart starts a server that was stopped, too."""
    del account_id
    action = operation_bodies.action(await bodies.read(request, services(request).max_body))
    return await change(request, instance_id, action, {})


@router.delete(
    "/v1.0/{account_id}/instances/{instance_id}",
    status_code=202,
    response_class=Response,
    responses=changes(),
    summary="Delete an instance",
)
async def delete(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """Its server is stopped for good, and it is not shown any more. Its data stay on its host, and its backups in the
    store and in lists.
    """
    del account_id
    return await change(request, instance_id, InstanceCommandType.DELETE, {})

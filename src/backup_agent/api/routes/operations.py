"""What became of an operation on an instance."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backup_agent.api import faults
from backup_agent.api.catalogue.operating import find_of
from backup_agent.api.openapi import AccountId, InstanceId, OperationId, answers
from backup_agent.api.resources import of_operation
from backup_agent.api.services import caller, services
from backup_agent.domain.ids import is_uuid

router = APIRouter(tags=["instances"])


@router.get(
    "/v1.0/{account_id}/instances/{instance_id}/operations/{operation_id}",
    responses=answers(200, "Operation", also=(404,)),
    summary="Show what became of an operation on an instance",
)
def show(request: Request, account_id: AccountId, instance_id: InstanceId, operation_id: OperationId) -> Response:
    """It is ASKED until its agent has answered; then DONE, REJECTED (nothing was begun) or FAILED. For a day."""
    del account_id
    found = None
    if is_uuid(operation_id.lower()):
        found = find_of(services(request).database, operation_id.lower(), instance_id.lower(), caller(request).scope)
    if found is None:
        raise faults.not_found(operation_id)
    return JSONResponse({"operation": of_operation(found)})

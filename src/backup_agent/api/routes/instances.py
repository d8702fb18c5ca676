"""Database instances, as they were registered: to be looked up by name and id."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backup_agent.api import faults, paging
from backup_agent.api.catalogue import reading
from backup_agent.api.catalogue.statuses import statuses
from backup_agent.api.openapi import PAGE_PARAMETERS, AccountId, InstanceId, answers
from backup_agent.api.resources import of_instance
from backup_agent.api.routes.addresses import own_url
from backup_agent.api.services import caller, services
from backup_agent.domain.ids import is_uuid

router = APIRouter(tags=["instances"])


@router.get(
    "/v1.0/{account_id}/instances",
    responses=answers(200, "Instances", also=(400,)),
    openapi_extra={"parameters": PAGE_PARAMETERS},
    summary="List instances",
)
def list_all(request: Request, account_id: AccountId) -> Response:
    del account_id
    asked = request.query_params
    page = paging.asked(asked.get("limit"), asked.get("marker"))
    with services(request).database.reading() as connection:
        found = reading.page_of_instances(connection, caller(request).account_id, page.after, page.limit + 1)
        status_of = statuses(connection, found)
    shown: dict[str, Any] = {
        "instances": [of_instance(instance, status_of[instance.id]) for instance in found[: page.limit]]
    }
    if len(found) > page.limit:
        last = found[page.limit - 1]
        shown["links"] = [paging.next_link(own_url(request), asked, paging.marker_of(last.created, last.id))]
    return JSONResponse(shown)


@router.get(
    "/v1.0/{account_id}/instances/{instance_id}",
    responses=answers(200, "Instance", also=(404,)),
    summary="Show an instance",
)
def show(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """Its status is BACKUP while a backup of it is asked for or made, REBOOT or SHUTDOWN while it is restarted or
    deleted, SHUTDOWN when it was stopped, and else ACTIVE.
    """
    del account_id
    if not is_uuid(instance_id.lower()):
        raise faults.not_found(instance_id)
    with services(request).database.reading() as connection:
        found = reading.find_instance(connection, instance_id.lower(), caller(request).scope)
        if found is None:
            raise faults.not_found(instance_id)
        status_of = statuses(connection, [found])
    return JSONResponse({"instance": of_instance(found, status_of[found.id])})

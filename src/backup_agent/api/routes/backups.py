"""Backups: ask for one, list, show and delete them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backup_agent.api import bodies, faults, paging
from backup_agent.api.catalogue import reading
from backup_agent.api.catalogue.creating import Order, create_backup
from backup_agent.api.catalogue.deleting import delete_backup
from backup_agent.api.catalogue.reading import Wanted
from backup_agent.api.openapi import LIST_PARAMETERS, PAGE_PARAMETERS, AccountId, BackupId, InstanceId, answers, body_of
from backup_agent.api.resources import of_backup
from backup_agent.api.routes.addresses import own_url
from backup_agent.api.routes.broker import refuse_without_broker
from backup_agent.api.services import caller, services
from backup_agent.domain.ids import is_uuid

router = APIRouter(tags=["backups"])
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@router.post(
    "/v1.0/{account_id}/backups",
    status_code=202,
    responses=answers(202, "Backup", also=(400, 404, 413, 415, 422, 501, 503)),
    openapi_extra=body_of("CreateBackup"),
    summary="Create a backup",
)
async def create(request: Request, account_id: AccountId) -> Response:
    """Asks the instance's agent for a backup, full or incremental. It is NEW until the agent begins with it."""
    del account_id
    asked = bodies.parse(await bodies.read(request, services(request).max_body))
    return await run_in_threadpool(_create, request, asked)


def _create(request: Request, asked: bodies.BackupAsked) -> Response:
    known = services(request)
    order = Order(asked.name, asked.description, asked.instance, asked.parent_id, asked.incremental)
    refuse_without_broker(known)
    backup = create_backup(known.database, order, caller(request).scope, known.rules, known.now())
    return JSONResponse({"backup": of_backup(backup)}, 202)


@router.get(
    "/v1.0/{account_id}/backups",
    responses=answers(200, "Backups", also=(400,)),
    openapi_extra={"parameters": LIST_PARAMETERS},
    summary="List backups",
)
def list_all(request: Request, account_id: AccountId) -> Response:
    """The newest first."""
    del account_id
    asked = request.query_params
    instance_id = asked.get("instance_id")
    if instance_id is not None and not is_uuid(instance_id.lower()):
        raise faults.bad_request("instance_id must be a UUID.")
    wanted = Wanted(_account_asked(request), instance_id and instance_id.lower(), asked.get("datastore"))
    return _list(request, wanted)


def _account_asked(request: Request) -> str | None:
    """Whose backups; None: everybody's."""
    who, asked = caller(request), request.query_params
    everybody = _flag("all_projects", asked.get("all_projects", "false"))
    project = asked.get("project_id")
    if not who.admin and (everybody or project not in (None, who.account_id)):
        raise faults.forbidden("Only administrators may ask for other accounts.")
    return project or (None if everybody else who.account_id)


def _flag(name: str, text: str) -> bool:
    found = _FLAGS.get(text.lower())
    if found is None:
        raise faults.bad_request(f"{name} must be true or false.")
    return found


@router.get(
    "/v1.0/{account_id}/instances/{instance_id}/backups",
    responses=answers(200, "Backups", also=(400, 404)),
    openapi_extra={"parameters": PAGE_PARAMETERS},
    summary="List the backups of an instance",
)
def list_of_instance(request: Request, account_id: AccountId, instance_id: InstanceId) -> Response:
    """The newest first."""
    del account_id
    who, wanted_id = caller(request), instance_id.lower()
    if not is_uuid(wanted_id):
        raise faults.not_found(instance_id)
    with services(request).database.reading() as connection:
        if reading.find_instance(connection, wanted_id, who.scope) is None:
            raise faults.not_found(instance_id)
    return _list(request, Wanted(who.scope, wanted_id))


def _list(request: Request, wanted: Wanted) -> Response:
    asked = request.query_params
    page = paging.asked(asked.get("limit"), asked.get("marker"))
    if wanted.datastore is not None and not _can_be_stored(wanted.datastore):
        return JSONResponse({"backups": []})
    if wanted.account_id is not None and not _can_be_stored(wanted.account_id):
        return JSONResponse({"backups": []})
    with services(request).database.reading() as connection:
        found = reading.page_of_backups(connection, wanted, page.after, page.limit + 1)
    shown: dict[str, Any] = {"backups": [of_backup(backup) for backup in found[: page.limit]]}
    if len(found) > page.limit:
        last = found[page.limit - 1]
        shown["links"] = [paging.next_link(own_url(request), asked, paging.marker_of(last.created, last.id))]
    return JSONResponse(shown)


def _can_be_stored(text: str) -> bool:
    """What can't stand in a database is in none."""
    return text.isprintable() and len(text) <= 128 and text.isascii()  # noqa: PLR2004 - the longest of our columns


@router.get(
    "/v1.0/{account_id}/backups/{backup_id}",
    responses=answers(200, "Backup", also=(404,)),
    summary="Show a backup",
)
def show(request: Request, account_id: AccountId, backup_id: BackupId) -> Response:
    del account_id
    found = None
    if is_uuid(backup_id.lower()):
        with services(request).database.reading() as connection:
            found = reading.find_backup(connection, backup_id.lower(), caller(request).scope)
    if found is None:
        raise faults.not_found(backup_id)
    return JSONResponse({"backup": of_backup(found)})


@router.delete(
    "/v1.0/{account_id}/backups/{backup_id}",
    status_code=202,
    response_class=Response,
    responses=answers(202, None, also=(404, 422)),
    summary="Delete a backup and all incremental backups made from it",
)
def delete(request: Request, account_id: AccountId, backup_id: BackupId) -> Response:
    """The agent deletes; the backup is gone from lists when that is done."""
    del account_id
    if not is_uuid(backup_id.lower()):
        raise faults.not_found(backup_id)
    known = services(request)
    delete_backup(known.database, backup_id.lower(), caller(request).scope, known.now())
    return Response(status_code=202)

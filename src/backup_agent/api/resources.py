"""Instances and backups as the API shows them: Trove's fields, and ours on top."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from backup_agent.api.catalogue.operation import Operation
from backup_agent.api.catalogue.values import Backup, Instance
from backup_agent.domain.instance_command import InstanceCommandType
from backup_agent.domain.state import State


def of_backup(backup: Backup) -> dict[str, Any]:
    """`datastore` is left out until all of it is known: Trove's client would trip over a null.

    One that is being deleted shows its former status, because clients of Trove know no other, and `deleting`.
    """
    shown: dict[str, Any] = {
        "id": backup.id,
        "name": backup.name,
        "description": backup.description,
        "instance_id": backup.instance_id,
        "parent_id": backup.parent_id,
        "project_id": backup.account_id,
        "created": _time(backup.created),
        "updated": _time(backup.updated),
        "size": backup.size,
        "status": _status(backup).value,
        "locationRef": backup.location,
        "checksum": backup.checksum,
        "progress": backup.progress,
        "error": _error(backup),
        "verified_at": None if backup.verified is None else _time(backup.verified),
    }
    if backup.status is State.DELETING:
        shown["deleting"] = True
    if backup.datastore_type and backup.datastore_version and backup.datastore_version_id:
        shown["datastore"] = {
            "type": backup.datastore_type,
            "version": backup.datastore_version,
            "version_id": backup.datastore_version_id,
        }
    return shown


def of_instance(instance: Instance, status: str) -> dict[str, Any]:
    """`flavor` is there for Trove's client alone."""
    version = instance.version
    return {
        "id": instance.id,
        "name": instance.name,
        "status": status,
        "created": _time(instance.created),
        "updated": _time(instance.heard or instance.created),
        "datastore": {
            "type": instance.datastore_type,
            "version": version,
            "version_id": f"{instance.datastore_type}-{version}" if version else None,
        },
        "flavor": {"id": "-", "links": []},
        "links": [],
    }


def of_operation(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "instance_id": operation.instance_id,
        "action": InstanceCommandType(operation.command).action,
        "status": operation.status.value,
        "created": _time(operation.asked),
        "finished": None if operation.finished is None else _time(operation.finished),
        "error": _error(operation),
        "backup_id": operation.backup_id,
    }


def _status(backup: Backup) -> State:
    return backup.former_status if backup.status is State.DELETING and backup.former_status else backup.status


def _error(of: Backup | Operation) -> dict[str, Any] | None:
    if of.error_code is None:
        return None
    return {"code": of.error_code, "message": of.error_message, "hint": of.error_hint}


def _time(moment: datetime) -> str:
    return moment.isoformat()[:19]

"""What an agent has answered to an operation on its instance, as a user is told. Waits for nothing.

An answer comes from another host: what it lists is looked at before it is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backup_agent.api import faults
from backup_agent.api.catalogue.operation import Operation, Standing
from backup_agent.errors import ErrorCode

_PASSED_ON = frozenset({400, 404, 409, 422, 501})
"""Statuses that an agent may have a user be answered with: what was wrong with the request."""

Name = Annotated[str, Field(max_length=1024)]


class _Listed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class DatabaseListed(_Listed):
    name: Name
    character_set: Name | None = None
    collate: Name | None = None


class _Named(_Listed):
    name: Name


class UserListed(_Listed):
    name: Name
    host: Name
    databases: tuple[_Named, ...] = ()


class DatabasesListed(_Listed):
    databases: tuple[DatabaseListed, ...]
    next_marker: Name | None = None

    @property
    def items(self) -> Sequence[BaseModel]:
        return self.databases


class UsersListed(_Listed):
    users: tuple[UserListed, ...]
    next_marker: Name | None = None

    @property
    def items(self) -> Sequence[BaseModel]:
        return self.users


Listed = DatabasesListed | UsersListed


def fault_of(operation: Operation) -> faults.Fault | None:
    """Why it was not done, in Trove's words where it has some; None when it was."""
    if operation.status is Standing.DONE:
        return None
    if operation.error_code == ErrorCode.INSTANCE_BUSY and operation.backup_id is not None:
        because = f"Backup {operation.backup_id} is under way."
        return faults.instance_busy(operation.instance_id, because=because)
    rejected = operation.status is Standing.REJECTED
    status = operation.error_status if rejected and operation.error_status in _PASSED_ON else None
    return faults.Fault(status or (422 if rejected else 500), _sentence(operation.error_message))


def listed(operation: Operation, kind: type[DatabasesListed | UsersListed]) -> Listed:
    """Of a listing that was done. Raises Fault (500) when that is no list."""
    try:
        return kind.model_validate_json(operation.result or "")
    except ValidationError as error:
        raise faults.Fault(500, "The instance's agent has answered with something that is no list.") from error


def shown(item: BaseModel) -> dict[str, Any]:
    return item.model_dump(mode="json")


def _sentence(text: str | None) -> str:
    words = (text or "").strip() or "the instance's agent has not said why"
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"

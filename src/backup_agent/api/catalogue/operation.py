"""An operation on an instance, as a row of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row


class Standing(StrEnum):
    ASKED = "ASKED"
    """Its agent has not answered yet."""
    DONE = "DONE"
    FAILED = "FAILED"
    """It was begun, or nobody knows."""
    REJECTED = "REJECTED"
    """Nothing was begun."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What the columns mean is said in `tables`."""

    id: str
    account_id: str
    instance_id: str
    command: str
    status: Standing
    asked: datetime
    finished: datetime | None
    result: str | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    error_status: int | None
    backup_id: str | None


def operation_of(row: Row[Any]) -> Operation:
    found = dict(row._mapping)  # noqa: SLF001 - the public way to a row's names, in spite of its underscore
    return Operation(**{**found, "status": Standing(found["status"])})

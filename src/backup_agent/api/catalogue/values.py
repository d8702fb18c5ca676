"""Rows of the catalogue as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from backup_agent.domain.state import State

ACTIVE = (State.NEW, State.BUILDING)
"""An instance has one such backup at a time."""


@dataclass(frozen=True, slots=True)
class Instance:
    id: str
    account_id: str
    name: str
    datastore_type: str
    datastore_version: str | None
    created: datetime
    removed: datetime | None
    heard: datetime | None
    agent_version: str | None
    server_version: str | None
    engine_version: str | None
    stopped: datetime | None

    @property
    def version(self) -> str | None:
        """Of the datastore: as it was registered, else as the agent tells."""
        told = self.server_version.split("-")[0] if self.server_version else None
        return self.datastore_version or told or None


@dataclass(frozen=True, slots=True)
class Backup:
    """What the columns mean is said in `tables`."""

    id: str
    account_id: str
    instance_id: str
    active_instance: str | None
    parent_id: str | None
    name: str
    description: str | None
    status: State
    former_status: State | None
    created: datetime
    updated: datetime
    heard: datetime
    sequence: int
    told: datetime | None
    phase: str | None
    progress: int
    size: float | None
    location: str | None
    checksum: str | None
    datastore_type: str | None
    datastore_version: str | None
    datastore_version_id: str | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    verified: datetime | None

    @property
    def restorable(self) -> bool:
        """A deletion that was refused has left all of it."""
        return State.COMPLETED in (self.status, self.former_status if self.status is State.DELETE_FAILED else None)


BACKUP_COLUMNS = tuple(field.name for field in fields(Backup))
INSTANCE_COLUMNS = tuple(field.name for field in fields(Instance))


def instance_of(row: Sequence[Any]) -> Instance:
    """Of INSTANCE_COLUMNS, in their order."""
    return Instance(*row)


def backup_of(row: Sequence[Any]) -> Backup:
    """Of BACKUP_COLUMNS, in their order."""
    return Backup(*row)


def columns_of(backup: Backup) -> dict[str, Any]:
    """By name, as a statement takes them."""
    return dict(zip(BACKUP_COLUMNS, _in_order(backup), strict=True))


_in_order = attrgetter(*BACKUP_COLUMNS)

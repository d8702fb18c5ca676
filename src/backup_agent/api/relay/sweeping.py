"""Gives up backups whose agent has been silent for too long. A guess: when the agent comes back, its word counts.

What it does not do: know whether we could have heard anything; `process` calls it only after having listened long
enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, or_, select, update

from backup_agent.api.catalogue import outbox
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.tables import backups, instances, tombstones
from backup_agent.api.catalogue.values import ACTIVE
from backup_agent.domain.state import State
from backup_agent.errors import ErrorCode

log = structlog.get_logger(__name__)

_HINT = "Check that the agent runs on the instance's host and reaches the broker; should it come back, its word counts."


@dataclass(frozen=True, slots=True)
class Patience:
    silent_after: timedelta
    """Of a running backup, or of the agent that has taken a command."""
    start_within: timedelta
    """For a command to be taken, or a deletion to end."""


@dataclass(frozen=True, slots=True)
class _Lost:
    id: str
    becomes: State
    why: str


def sweep(database: Database, patience: Patience, now: datetime) -> int:
    """How many were given up. Raises CatalogueError."""
    lost = database.write(lambda connection: _sweep(connection, patience, now))
    for backup in lost:
        log.warning("a backup was given up", code=ErrorCode.AGENT_LOST.value, backup_id=backup.id, reason=backup.why)
    return len(lost)


def forget(database: Database, before: datetime) -> None:
    """Deleted backups. Raises CatalogueError."""
    database.write(lambda connection: connection.execute(delete(tombstones).where(tombstones.c.deleted < before)))


def _sweep(connection: Connection, patience: Patience, now: datetime) -> Sequence[_Lost]:
    lost = _find(connection, patience, now)
    for backup in lost:
        connection.execute(
            update(backups)
            .where(backups.c.id == backup.id)
            .values(
                status=backup.becomes,
                former_status=None,
                active_instance=None,
                updated=now,
                error_code=ErrorCode.AGENT_LOST.value,
                error_message=backup.why,
                error_hint=_HINT,
            )
        )
    failed = [backup.id for backup in lost if backup.becomes is State.FAILED]
    if failed:
        outbox.withdraw_creation(connection, failed)
    return lost


def _find(connection: Connection, patience: Patience, now: datetime) -> Sequence[_Lost]:
    silent, late = now - patience.silent_after, now - patience.start_within
    query = (
        select(backups.c.id, backups.c.status, backups.c.sequence, backups.c.created, backups.c.heard)
        .add_columns(instances.c.heard.label("agent_heard"))
        .join(instances, instances.c.id == backups.c.instance_id)
        .where(or_(backups.c.status.in_(ACTIVE), backups.c.status == State.DELETING), backups.c.heard < silent)
        .order_by(backups.c.id)
        .with_for_update(of=backups)
    )
    lost: list[_Lost] = []
    for row in connection.execute(query):
        agent_is_silent = row.agent_heard is None or row.agent_heard < silent
        match State(row.status):
            case State.BUILDING:
                lost.append(_Lost(row.id, State.FAILED, f"nothing was heard of it since {_text(row.heard)}"))
            case State.NEW if row.created < late - patience.silent_after:
                lost.append(_Lost(row.id, State.FAILED, "its agent has not begun it in time"))
            case State.NEW if row.sequence > 0 and agent_is_silent:
                lost.append(_Lost(row.id, State.FAILED, f"nothing was heard of its agent since {_text(row.heard)}"))
            case State.DELETING if row.heard < late:
                lost.append(_Lost(row.id, State.DELETE_FAILED, "its agent has not deleted it in time"))
            case _:
                pass
    return lost


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

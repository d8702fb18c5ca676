"""Gives up operations on instances whose agents have not answered, and forgets old ones.

Giving up is a guess, as it is of backups: when the agent comes back, its answer counts. What it does not do: know
whether we could have heard one; `process` calls it only after having listened long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, or_, select, update

from backup_agent.api.catalogue import outbox
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.operation import Standing
from backup_agent.api.catalogue.tables import operations
from backup_agent.domain.instance_command import InstanceCommandType
from backup_agent.errors import ErrorCode

log = structlog.get_logger(__name__)

_LISTS = (InstanceCommandType.LIST_DATABASES, InstanceCommandType.LIST_USERS)
_HINT = "Check that the agent runs on the instance's host and reaches the broker; should it come back, its word counts."
_REMEMBER_LISTS = timedelta(minutes=10)
"""Only the request that waits for a list looks at it."""
_ENDED = (Standing.DONE, Standing.FAILED, Standing.REJECTED)


@dataclass(frozen=True, slots=True)
class OperationPatience:
    answer_within: timedelta
    remember: timedelta


@dataclass(frozen=True, slots=True)
class _Lost:
    id: str
    instance_id: str
    command: str


def give_up(database: Database, patience: OperationPatience, now: datetime) -> int:
    """How many. Raises CatalogueError."""
    lost = database.write(lambda connection: _give_up(connection, now - patience.answer_within, now))
    for one in lost:
        log.warning(
            "an operation on an instance was given up",
            code=ErrorCode.AGENT_LOST.value,
            request_id=one.id,
            instance_id=one.instance_id,
            command=one.command,
        )
    return len(lost)


def forget_operations(database: Database, patience: OperationPatience, now: datetime) -> None:
    """Those that have ended. Raises CatalogueError."""
    old = or_(
        operations.c.asked < now - patience.remember,
        operations.c.command.in_(_LISTS) & (operations.c.asked < now - _REMEMBER_LISTS),
    )
    statement = delete(operations).where(operations.c.status.in_(_ENDED), old)
    database.write(lambda connection: connection.execute(statement))


def _give_up(connection: Connection, before: datetime, now: datetime) -> Sequence[_Lost]:
    query = (
        select(operations.c.id, operations.c.instance_id, operations.c.command)
        .where(operations.c.status == Standing.ASKED, operations.c.asked < before)
        .order_by(operations.c.id)
        .with_for_update()
    )
    lost = [_Lost(*row) for row in connection.execute(query)]
    if lost:
        ids = [one.id for one in lost]
        connection.execute(
            update(operations)
            .where(operations.c.id.in_(ids))
            .values(
                status=Standing.FAILED,
                finished=now,
                error_code=ErrorCode.AGENT_LOST.value,
                error_message="its agent has not answered in time",
                error_hint=_HINT,
            )
        )
        outbox.withdraw(connection, ids)
    return lost

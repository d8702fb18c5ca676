"""The commands that the broker has not confirmed yet. One is put in by the transaction that changes its backup, or
that makes its operation; `backup_id` is the id of either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, delete, func, insert, select

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.tables import outbox
from backup_agent.api.commands import CREATE, Encoded


@dataclass(frozen=True, slots=True)
class Waiting:
    """`number` rises in the order in which they were put in."""

    number: int
    instance_id: str
    backup_id: str
    type: str
    message_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Depth:
    commands: int
    oldest: datetime | None


def put(connection: Connection, instance_id: str, backup_id: str, command: Encoded, now: datetime) -> None:
    connection.execute(
        _PUT,
        {
            "instance_id": instance_id,
            "backup_id": backup_id,
            "type": command.type,
            "message_id": command.id,
            "body": command.body,
            "created": now,
        },
    )


_PUT = insert(outbox).inline()
"""Nobody asks for the number that it gets."""


def withdraw_creation(connection: Connection, backup_ids: Collection[str]) -> frozenset[str]:
    """Whose command to create them had not been confirmed; it is not sent any more, unless that is under way."""
    which = (outbox.c.backup_id.in_(backup_ids), outbox.c.type == CREATE)
    found = frozenset(connection.execute(select(outbox.c.backup_id).where(*which)).scalars())
    if found:
        connection.execute(delete(outbox).where(*which))
    return found


def withdraw(connection: Connection, ids: Collection[str]) -> None:
    """Commands about these backups or operations are not sent any more, unless that is under way."""
    connection.execute(delete(outbox).where(outbox.c.backup_id.in_(ids)))


def pending(database: Database, limit: int, *, without: Collection[str] = ()) -> Sequence[Waiting]:
    """The oldest, of instances other than those in `without`."""
    statement, given = (_PENDING_WITHOUT, {"busy": sorted(without)}) if without else (_PENDING, {})
    with database.reading() as connection:
        return [_waiting(row) for row in connection.execute(statement, {**given, "most": limit})]


_PENDING = (
    select(outbox.c.id, outbox.c.instance_id, outbox.c.backup_id, outbox.c.type, outbox.c.message_id, outbox.c.body)
    .order_by(outbox.c.id)
    .limit(bindparam("most", type_=Integer))
)
_PENDING_WITHOUT = _PENDING.where(outbox.c.instance_id.not_in(bindparam("busy", expanding=True)))


def confirmed(database: Database, numbers: Collection[int]) -> None:
    """The broker has them. Those that are gone already are no error."""
    database.write(lambda connection: connection.execute(_CONFIRMED, {"numbers": sorted(numbers)}))


_CONFIRMED = delete(outbox).where(outbox.c.id.in_(bindparam("numbers", expanding=True)))


def depth(connection: Connection) -> Depth:
    row = connection.execute(select(func.count(), func.min(outbox.c.created)).select_from(outbox)).one()
    return Depth(row[0], row[1])


def _waiting(row: Any) -> Waiting:  # noqa: ANN401 - a row of any columns
    return Waiting(*row)

"""An operation on an instance, asked for by a user: the row and the command to its agent, in one transaction.

It is refused while a backup of the instance is asked for or made, as far as is known here; the agent is the authority,
and answers. What it does not do: wait for that. The account's row is locked meanwhile, as for a new backup, so that of
the two the later one sees the earlier.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from backup_agent.api import commands, faults
from backup_agent.api.catalogue import outbox
from backup_agent.api.catalogue.creating import WITH_BACKUPS
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.holding import hold
from backup_agent.api.catalogue.operation import Operation, Standing, operation_of
from backup_agent.api.catalogue.tables import operations
from backup_agent.domain.instance_command import InstanceCommandType


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asks of an instance, found to be well-formed. In `data`, as the command has it, is no password."""

    instance_id: str
    command: InstanceCommandType
    data: Mapping[str, Any]


def ask(database: Database, asked: Asked, account_id: str | None, within: timedelta, now: datetime) -> str:
    """Its id, by which it is found. An agent that has not begun it `within` this time does not begin it any more.

    Raises Fault: 404 instance, 422 while it is in backup or being deleted, 501, found in this order.
    """
    return database.write(lambda connection: _ask(connection, asked, account_id, within, now))


def find(database: Database, operation_id: str) -> Operation | None:
    with database.reading() as connection:
        row = connection.execute(select(operations).where(operations.c.id == operation_id)).first()
    return None if row is None else operation_of(row)


def find_ended(database: Database, operation_ids: Collection[str]) -> Sequence[Operation]:
    """Those of them that are not under way any more."""
    query = select(operations).where(operations.c.id.in_(operation_ids), operations.c.status != Standing.ASKED)
    with database.reading() as connection:
        return [operation_of(row) for row in connection.execute(query)]


def find_of(database: Database, operation_id: str, instance_id: str, account_id: str | None) -> Operation | None:
    """As users may see it, also when the instance is gone."""
    found = find(database, operation_id)
    if found is None or found.instance_id != instance_id or account_id not in (None, found.account_id):
        return None
    return found


def _ask(connection: Connection, asked: Asked, account_id: str | None, within: timedelta, now: datetime) -> str:
    instance = hold(connection, asked.instance_id, account_id)
    if instance.datastore_type not in WITH_BACKUPS:
        raise faults.no_operations_on(instance.datastore_type)
    command = commands.operate(
        asked.command, asked.data, instance_id=instance.id, account_id=instance.account_id, expires=now + within
    )
    connection.execute(
        insert(operations).values(
            id=command.id,
            account_id=instance.account_id,
            instance_id=instance.id,
            command=asked.command,
            status=Standing.ASKED,
            asked=now,
        )
    )
    outbox.put(connection, instance.id, command.id, command, now)
    return command.id

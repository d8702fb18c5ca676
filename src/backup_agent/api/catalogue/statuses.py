"""What instances are doing, in Trove's words, as far as the catalogue knows.

What is under way shows before what was done. Of the server itself it is known only that it was stopped by its agent,
and that the agent has seen it run since: nobody looks after it in between.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from backup_agent.api.catalogue.operation import Standing
from backup_agent.api.catalogue.reading import busy_among
from backup_agent.api.catalogue.tables import operations
from backup_agent.api.catalogue.values import Instance
from backup_agent.domain.instance_command import InstanceCommandType

IDLE, BUSY, RESTARTING, ENDING = "ACTIVE", "BACKUP", "REBOOT", "SHUTDOWN"
STOPPED = ENDING
"""Trove has one word for both."""
_SHOWN = {InstanceCommandType.RESTART: RESTARTING, InstanceCommandType.DELETE: ENDING}
"""By the operation that is under way."""


def statuses(connection: Connection, instances: Sequence[Instance]) -> dict[str, str]:
    """By their ids. What ends an instance shows before its backup, and that before a restart."""
    instance_ids = [instance.id for instance in instances]
    under_way = _under_way(connection, instance_ids)
    return {
        **{instance.id: IDLE if instance.stopped is None else STOPPED for instance in instances},
        **{instance_id: status for instance_id, status in under_way if status == RESTARTING},
        **dict.fromkeys(busy_among(connection, instance_ids), BUSY),
        **{instance_id: status for instance_id, status in under_way if status == ENDING},
    }


def occupied(connection: Connection, instance_id: str) -> str | None:
    """The status for which nothing may be asked of it; None when something may."""
    if (instance_id, ENDING) in _under_way(connection, [instance_id]):
        return ENDING
    return BUSY if busy_among(connection, [instance_id]) else None


def _under_way(connection: Connection, instance_ids: Sequence[str]) -> set[tuple[str, str]]:
    rows = connection.execute(_UNDER_WAY, {"ids": instance_ids})
    return {(row.instance_id, _SHOWN[row.command]) for row in rows}


_UNDER_WAY = select(operations.c.instance_id, operations.c.command).where(
    operations.c.instance_id.in_(bindparam("ids", expanding=True)),
    operations.c.status == Standing.ASKED,
    operations.c.command.in_(tuple(_SHOWN)),
)

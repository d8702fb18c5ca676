"""What instances are doing, in Trove's words, as far as the catalogue knows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from backup_agent.api.catalogue.operation import Standing
from backup_agent.api.catalogue.reading import busy_among
from backup_agent.api.catalogue.tables import operations
from backup_agent.domain.instance_command import InstanceCommandType

IDLE, BUSY, RESTARTING, ENDING = "ACTIVE", "BACKUP", "REBOOT", "SHUTDOWN"
_SHOWN = {InstanceCommandType.RESTART: RESTARTING, InstanceCommandType.DELETE: ENDING}
"""By the operation that is under way."""


def statuses(connection: Connection, instance_ids: Sequence[str]) -> dict[str, str]:
    """Of each of them. What ends an instance shows before its backup, and that before a restart."""
    under_way = _under_way(connection, instance_ids)
    return {
        **dict.fromkeys(instance_ids, IDLE),
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

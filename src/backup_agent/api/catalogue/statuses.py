"""What instances are doing, in Trove's words, as far as the catalogue knows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from backup_agent.api.catalogue.operation import Standing
from backup_agent.api.catalogue.reading import busy_among
from backup_agent.api.catalogue.tables import operations
from backup_agent.domain.instance_command import InstanceCommandType

IDLE, BUSY, RESTARTING, ENDING = "ACTIVE", "BACKUP", "REBOOT", "SHUTDOWN"
_SHOWN = {InstanceCommandType.RESTART: RESTARTING, InstanceCommandType.DELETE: ENDING}
"""By the operation that is under way."""


def statuses(connection: Connection, instance_ids: Sequence[str]) -> dict[str, str]:
    """Of each of them. What ends an instance shows before its backup, and that before a restart."""
    query = select(operations.c.instance_id, operations.c.command).where(
        operations.c.instance_id.in_(instance_ids),
        operations.c.status == Standing.ASKED,
        operations.c.command.in_(tuple(_SHOWN)),
    )
    under_way = {(row.instance_id, _SHOWN[row.command]) for row in connection.execute(query)}
    return {
        **dict.fromkeys(instance_ids, IDLE),
        **{instance_id: status for instance_id, status in under_way if status == RESTARTING},
        **dict.fromkeys(busy_among(connection, instance_ids), BUSY),
        **{instance_id: status for instance_id, status in under_way if status == ENDING},
    }

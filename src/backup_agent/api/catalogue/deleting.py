"""The deletion of a backup and of all incrementals made from it: all are checked before any is touched.

The agents delete; here the backups become DELETING, and one command for each goes out, children first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from backup_agent.api import commands, faults
from backup_agent.api.catalogue import outbox, reading
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.holding import lock_account
from backup_agent.api.catalogue.tables import backups, tombstones
from backup_agent.api.catalogue.values import ACTIVE, Backup, backup_of
from backup_agent.domain.state import State


def delete_backup(database: Database, backup_id: str, account_id: str | None, now: datetime) -> None:
    """Asked for again, it is done once. Raises Fault: 404, and 422 while it or one made from it runs."""
    database.write(lambda connection: _delete(connection, backup_id, account_id, now))


def _delete(connection: Connection, backup_id: str, account_id: str | None, now: datetime) -> None:
    found = reading.find_backup(connection, backup_id, account_id)
    if found is None:
        raise faults.not_found(backup_id)
    lock_account(connection, found.account_id)
    family = _family(connection, backup_id)
    if not family:  # deleted while the account was waited for
        raise faults.not_found(backup_id)
    running = next((backup for backup in family if backup.status in ACTIVE), None)
    if running is not None:
        raise faults.backup_running(running.id)
    for backup in reversed(family):
        if backup.status is not State.DELETING:
            _begin(connection, backup, now)


def _family(connection: Connection, backup_id: str) -> Sequence[Backup]:
    """The backup and all that were made from it, parents before children, locked."""
    generation = _locked(connection, [backup_id], children=False)
    family: dict[str, Backup] = {}
    while generation:
        family |= {backup.id: backup for backup in generation}
        children = _locked(connection, [backup.id for backup in generation], children=True)
        generation = [child for child in children if child.id not in family]
    return list(family.values())


def _locked(connection: Connection, ids: Sequence[str], *, children: bool) -> Sequence[Backup]:
    column = backups.c.parent_id if children else backups.c.id
    query = select(*reading.ALL_OF_BACKUP).where(column.in_(ids)).order_by(backups.c.id).with_for_update()
    return [backup_of(row) for row in connection.execute(query)]


def _begin(connection: Connection, backup: Backup, now: datetime) -> None:
    unheard = backup.sequence == 0
    if unheard and backup.id in outbox.withdraw_creation(connection, [backup.id]):
        bury(connection, [backup], now)  # no agent has ever been told of it
        return
    if unheard:
        bury(connection, [backup], now)  # its agent never said a word: there is nothing to wait for
    else:
        connection.execute(
            update(backups)
            .where(backups.c.id == backup.id)
            .values(
                status=State.DELETING,
                former_status=State.COMPLETED if backup.restorable else backup.status,
                updated=now,
                heard=now,
                error_code=None,
                error_message=None,
                error_hint=None,
            )
        )
    command = commands.delete_backup(backup.id, backup.account_id)
    outbox.put(connection, backup.instance_id, backup.id, command, now)


def bury(connection: Connection, gone: Sequence[Backup], now: datetime) -> None:
    """They are not there any more, and late events do not bring them back."""
    connection.execute(delete(backups).where(backups.c.id.in_([backup.id for backup in gone])))
    connection.execute(
        insert(tombstones),
        [{"id": backup.id, "instance_id": backup.instance_id, "deleted": now} for backup in gone],
    )

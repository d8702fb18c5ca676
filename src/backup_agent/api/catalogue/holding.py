"""An instance of which something is to be asked, held still: of two requests at once the later one sees the earlier.

Backups and operations on instances are asked for under the lock of the account's row. What it does not do: keep agents
from telling what has become of something; their word counts at any time.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from backup_agent.api import faults
from backup_agent.api.catalogue import reading, statuses
from backup_agent.api.catalogue.tables import accounts
from backup_agent.api.catalogue.values import Instance


def hold(connection: Connection, instance_id: str, account_id: str | None) -> Instance:
    """Until the transaction ends, nobody else asks anything of it.

    Raises Fault: 404, and 422 while a backup of it is asked for or made, or it is being deleted.
    """
    instance = _find(connection, instance_id, account_id)
    lock_account(connection, instance.account_id)
    occupied = statuses.occupied(connection, instance.id)
    if occupied is not None:
        raise faults.instance_busy(instance.id, occupied)
    # Found once more, and last: a deletion that was done while the lock was waited for is under way no more.
    return _find(connection, instance_id, account_id)


def lock_account(connection: Connection, account_id: str) -> None:
    """Until the transaction ends. SQLite has locked everything already.

    PostgreSQL's weaker lock, so that backups that agents tell of can be inserted meanwhile: for their foreign key, they
    would else wait in line with all creates of the account, and the batch of events with them.
    """
    connection.execute(_LOCK, {"account_id": account_id})


_LOCK = select(accounts.c.id).where(accounts.c.id == bindparam("account_id")).with_for_update(key_share=True)


def _find(connection: Connection, instance_id: str, account_id: str | None) -> Instance:
    found = reading.find_instance(connection, instance_id, account_id)
    if found is None:
        raise faults.not_found(instance_id)
    return found

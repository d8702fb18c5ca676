"""What users may see: instances and backups, one or a page. An account of None stands for all of them.

Pages are in the order of creation, newest first: it never changes, so that a page's end is found again although
backups come, go and change meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, func, or_, select

from backup_agent.api.catalogue.tables import backups, instances
from backup_agent.api.catalogue.values import Backup, Instance, backup_of, instance_of


@dataclass(frozen=True, slots=True)
class Place:
    """After which row a page begins."""

    created: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which backups."""

    account_id: str | None
    instance_id: str | None = None
    datastore: str | None = None


def find_backup(connection: Connection, backup_id: str, account_id: str | None) -> Backup | None:
    row = connection.execute(_of_account(select(backups).where(backups.c.id == backup_id), backups, account_id)).first()
    return None if row is None else backup_of(row)


def find_instance(connection: Connection, instance_id: str, account_id: str | None) -> Instance | None:
    """One that was removed is not found."""
    query = select(instances).where(instances.c.id == instance_id, instances.c.removed.is_(None))
    row = connection.execute(_of_account(query, instances, account_id)).first()
    return None if row is None else instance_of(row)


def page_of_backups(connection: Connection, wanted: Wanted, after: Place | None, limit: int) -> Sequence[Backup]:
    query = _of_account(select(backups), backups, wanted.account_id)
    if wanted.instance_id is not None:
        query = query.where(backups.c.instance_id == wanted.instance_id)
    if wanted.datastore is not None:
        query = query.where(
            or_(backups.c.datastore_type == wanted.datastore, backups.c.datastore_version_id == wanted.datastore)
        )
    return [backup_of(row) for row in connection.execute(_page(query, backups, after, limit))]


def page_of_instances(
    connection: Connection, account_id: str | None, after: Place | None, limit: int
) -> Sequence[Instance]:
    query = _of_account(select(instances).where(instances.c.removed.is_(None)), instances, account_id)
    return [instance_of(row) for row in connection.execute(_page(query, instances, after, limit))]


def busy_among(connection: Connection, instance_ids: Sequence[str]) -> frozenset[str]:
    """Those of them that a backup is asked for or made of."""
    query = select(backups.c.active_instance).where(backups.c.active_instance.in_(instance_ids))
    return frozenset(connection.execute(query).scalars())


def count_backups(connection: Connection, account_id: str) -> int:
    query = select(func.count()).select_from(backups).where(backups.c.account_id == account_id)
    return int(connection.execute(query).scalar_one())


def _of_account(query: Select[Any], table: Table, account_id: str | None) -> Select[Any]:
    return query if account_id is None else query.where(table.c.account_id == account_id)


def _page(query: Select[Any], table: Table, after: Place | None, limit: int) -> Select[Any]:
    if after is not None:
        # The first condition is implied; it is what the databases look up in the index.
        query = query.where(
            table.c.created <= after.created,
            or_(table.c.created < after.created, and_(table.c.created == after.created, table.c.id < after.id)),
        )
    return query.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)

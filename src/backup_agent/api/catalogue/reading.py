"""What users may see: instances and backups, one or a page. An account of None stands for all of them.

Pages are in the order of creation, newest first: it never changes, so that a page's end is found again although
backups come, go and change meanwhile. Each statement is built once: to build it costs as much as to carry it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Integer, Select, Table, and_, bindparam, or_, select

from backup_agent.api.catalogue.tables import backups, instances
from backup_agent.api.catalogue.values import (
    BACKUP_COLUMNS,
    INSTANCE_COLUMNS,
    Backup,
    Instance,
    backup_of,
    instance_of,
)

ALL_OF_BACKUP = tuple(backups.c[name] for name in BACKUP_COLUMNS)
"""What `backup_of` takes."""
ALL_OF_INSTANCE = tuple(instances.c[name] for name in INSTANCE_COLUMNS)
"""What `instance_of` takes."""


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
    asked = _given(row_id=backup_id, account_id=account_id)
    row = connection.execute(_backup(frozenset(asked)), asked).first()
    return None if row is None else backup_of(row)


def find_instance(connection: Connection, instance_id: str, account_id: str | None) -> Instance | None:
    """One that was removed is not found."""
    asked = _given(row_id=instance_id, account_id=account_id)
    row = connection.execute(_instance(frozenset(asked)), asked).first()
    return None if row is None else instance_of(row)


def page_of_backups(connection: Connection, wanted: Wanted, after: Place | None, limit: int) -> Sequence[Backup]:
    asked = _given(
        account_id=wanted.account_id, instance_id=wanted.instance_id, datastore=wanted.datastore, **_after(after)
    )
    rows = connection.execute(_page_of_backups(frozenset(asked)), {**asked, "most": limit})
    return [backup_of(row) for row in rows.all()]


def page_of_instances(
    connection: Connection, account_id: str | None, after: Place | None, limit: int
) -> Sequence[Instance]:
    asked = _given(account_id=account_id, **_after(after))
    rows = connection.execute(_page_of_instances(frozenset(asked)), {**asked, "most": limit})
    return [instance_of(row) for row in rows.all()]


def busy_among(connection: Connection, instance_ids: Sequence[str]) -> frozenset[str]:
    """Those of them that a backup is asked for or made of."""
    return frozenset(connection.execute(_BUSY, {"ids": instance_ids}).scalars())


_BUSY = select(backups.c.active_instance).where(backups.c.active_instance.in_(bindparam("ids", expanding=True)))


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _after(place: Place | None) -> dict[str, object]:
    return {} if place is None else {"after_created": place.created, "after_id": place.id}


@cache
def _backup(asked: frozenset[str]) -> Select[Any]:
    return _of_account(select(*ALL_OF_BACKUP).where(backups.c.id == bindparam("row_id")), backups, asked)


@cache
def _instance(asked: frozenset[str]) -> Select[Any]:
    query = select(*ALL_OF_INSTANCE).where(instances.c.id == bindparam("row_id"), instances.c.removed.is_(None))
    return _of_account(query, instances, asked)


@cache
def _page_of_backups(asked: frozenset[str]) -> Select[Any]:
    query = _of_account(select(*ALL_OF_BACKUP), backups, asked)
    if "instance_id" in asked:
        query = query.where(backups.c.instance_id == bindparam("instance_id"))
    if "datastore" in asked:
        datastore: BindParameter[str] = bindparam("datastore")
        query = query.where(or_(backups.c.datastore_type == datastore, backups.c.datastore_version_id == datastore))
    return _page(query, backups, asked)


@cache
def _page_of_instances(asked: frozenset[str]) -> Select[Any]:
    query = select(*ALL_OF_INSTANCE).where(instances.c.removed.is_(None))
    return _page(_of_account(query, instances, asked), instances, asked)


def _of_account(query: Select[Any], table: Table, asked: frozenset[str]) -> Select[Any]:
    return query.where(table.c.account_id == bindparam("account_id")) if "account_id" in asked else query


def _page(query: Select[Any], table: Table, asked: frozenset[str]) -> Select[Any]:
    if "after_id" in asked:
        created: BindParameter[datetime] = bindparam("after_created")
        row_id: BindParameter[str] = bindparam("after_id")
        # The first condition is implied; it is what the databases look up in the index.
        query = query.where(
            table.c.created <= created,
            or_(table.c.created < created, and_(table.c.created == created, table.c.id < row_id)),
        )
    return query.order_by(table.c.created.desc(), table.c.id.desc()).limit(bindparam("most", type_=Integer))

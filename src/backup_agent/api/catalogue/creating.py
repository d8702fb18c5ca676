"""A new backup, asked for by a user: the row and the command to its agent, in one transaction.

That an instance has one NEW or BUILDING backup is held by the index on `active_instance`; looking before is only for
the order of faults. The account's row is locked meanwhile, so that its quota and its parents hold, and that no deletion
of the instance is asked for.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, insert, or_, select
from sqlalchemy.exc import IntegrityError

from backup_agent.api import commands, faults
from backup_agent.api.catalogue import outbox, reading
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.holding import hold
from backup_agent.api.catalogue.quota import Quota
from backup_agent.api.catalogue.tables import backups
from backup_agent.api.catalogue.values import Backup, Instance, columns_of
from backup_agent.domain.state import State

WITH_BACKUPS = frozenset({"mariadb", "mysql", "percona"})
"""Datastores that agents can back up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user asks for."""

    name: str
    description: str | None
    instance_id: str
    parent_id: str | None
    incremental: bool
    """Of the newest completed backup, unless a parent is named."""


@dataclass(frozen=True, slots=True)
class Rules:
    quota: Quota
    start_within: timedelta


def create_backup(database: Database, order: Order, account_id: str | None, rules: Rules, now: datetime) -> Backup:
    """Raises Fault: 404 instance or parent, 422 in backup or being deleted, 501, 400 unfit parent, 413 quota, found
    in this order.
    """
    try:
        return database.write(lambda connection: _create(connection, order, account_id, rules, now))
    except IntegrityError as error:
        raise faults.instance_busy(order.instance_id) from error


def _create(connection: Connection, order: Order, account_id: str | None, rules: Rules, now: datetime) -> Backup:
    instance = hold(connection, order.instance_id, account_id)
    if instance.datastore_type not in WITH_BACKUPS:
        raise faults.no_backups_of(instance.datastore_type)
    parent_id = _parent(connection, order, instance)
    if rules.quota.is_reached(connection, instance.account_id, now):
        raise faults.quota(rules.quota.limit)
    backup = _new(order, instance, parent_id, now)
    connection.execute(_INSERT, columns_of(backup))
    command = commands.create_backup(
        backup_id=backup.id,
        name=order.name,
        description=order.description,
        instance_id=instance.id,
        account_id=instance.account_id,
        parent_id=parent_id,
        expires=now + rules.start_within,
    )
    outbox.put(connection, instance.id, backup.id, command, now)
    return backup


_INSERT = insert(backups)


def _parent(connection: Connection, order: Order, instance: Instance) -> str | None:
    if order.parent_id is None:
        return _newest(connection, instance) if order.incremental else None
    parent = reading.find_backup(connection, order.parent_id, instance.account_id)
    if parent is None:
        raise faults.not_found(order.parent_id)
    if parent.instance_id != instance.id:
        raise faults.bad_request(f"The parent {parent.id} is a backup of another instance.")
    if not parent.restorable:
        raise faults.bad_request(f"The parent {parent.id} is not COMPLETED, it is {parent.status}.")
    return parent.id


def _newest(connection: Connection, instance: Instance) -> str:
    query = (
        select(backups.c.id)
        .where(backups.c.instance_id == instance.id)
        .where(
            or_(
                backups.c.status == State.COMPLETED,
                and_(backups.c.status == State.DELETE_FAILED, backups.c.former_status == State.COMPLETED),
            )
        )
        .order_by(backups.c.created.desc(), backups.c.id.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar()
    if found is None:
        raise faults.bad_request(
            f"Instance {instance.id} has no completed backup that an incremental could continue: take a full one first."
        )
    return found


def _new(order: Order, instance: Instance, parent_id: str | None, now: datetime) -> Backup:
    version = instance.version
    return Backup(
        id=str(uuid.uuid4()),
        account_id=instance.account_id,
        instance_id=instance.id,
        active_instance=instance.id,
        parent_id=parent_id,
        name=order.name,
        description=order.description,
        status=State.NEW,
        former_status=None,
        created=now,
        updated=now,
        heard=now,
        sequence=0,
        told=None,
        phase=None,
        progress=0,
        size=None,
        location=None,
        checksum=None,
        datastore_type=instance.datastore_type if version else None,
        datastore_version=version,
        datastore_version_id=f"{instance.datastore_type}-{version}" if version else None,
        error_code=None,
        error_message=None,
        error_hint=None,
        verified=None,
    )

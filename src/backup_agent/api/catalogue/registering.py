"""Instances as operators register them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.reading import ALL_OF_INSTANCE
from backup_agent.api.catalogue.tables import accounts, instances
from backup_agent.api.catalogue.values import Instance, instance_of
from backup_agent.errors import ErrorCode, RejectedError


@dataclass(frozen=True, slots=True)
class Registration:
    id: str
    account_id: str
    name: str
    datastore_type: str
    datastore_version: str | None


def add_instance(database: Database, registration: Registration, now: datetime) -> Instance:
    """Registers it, or changes what is registered. Raises RejectedError when it belongs to another account."""

    def work(connection: Connection) -> Instance:
        _ensure_account(connection, registration.account_id, now)
        known = connection.execute(select(instances).where(instances.c.id == registration.id).with_for_update()).first()
        values = {
            "name": registration.name,
            "datastore_type": registration.datastore_type,
            "datastore_version": registration.datastore_version,
            "removed": None,
        }
        if known is None:
            connection.execute(
                insert(instances).values(id=registration.id, account_id=registration.account_id, created=now, **values)
            )
        elif known.account_id != registration.account_id:
            raise RejectedError(
                ErrorCode.WRONG_INSTANCE,
                f"the instance {registration.id} belongs to the account {known.account_id}",
                "An instance keeps its account, as its backups do; give it a new id in both places.",
            )
        else:
            connection.execute(update(instances).where(instances.c.id == registration.id).values(**values))
        return instance_of(connection.execute(select(*ALL_OF_INSTANCE).where(instances.c.id == registration.id)).one())

    return database.write(work, again_if_not_unique=True)


def list_instances(database: Database, account_id: str | None) -> Sequence[Instance]:
    query = select(*ALL_OF_INSTANCE).where(instances.c.removed.is_(None))
    query = query.order_by(instances.c.account_id, instances.c.name)
    if account_id is not None:
        query = query.where(instances.c.account_id == account_id)
    with database.reading() as connection:
        return [instance_of(row) for row in connection.execute(query)]


def remove_instance(database: Database, instance_id: str, now: datetime) -> None:
    """Its backups stay, and can be deleted. Raises RejectedError (`instance_unknown`)."""

    def work(connection: Connection) -> int:
        return connection.execute(
            update(instances).where(instances.c.id == instance_id, instances.c.removed.is_(None)).values(removed=now)
        ).rowcount

    if database.write(work) == 0:
        raise RejectedError(
            ErrorCode.INSTANCE_UNKNOWN,
            f"no instance {instance_id[:64]} is registered",
            "`backup-agent api instance list` shows those that are.",
        )


def _ensure_account(connection: Connection, account_id: str, now: datetime) -> None:
    if connection.execute(select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
        connection.execute(insert(accounts).values(id=account_id, created=now))

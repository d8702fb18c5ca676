"""A catalogue in SQLite with one instance, and rows of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from backup_agent.api.catalogue import migrate
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.registering import Registration, add_instance
from backup_agent.api.catalogue.tables import backups
from backup_agent.api.catalogue.values import Backup, columns_of
from backup_agent.domain.state import State

ACCOUNT = "1234"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
NOW = datetime(2026, 11, 25, 12, 30, 15, 123456, tzinfo=UTC)


@contextmanager
def new_catalogue(directory: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{directory / 'catalogue.db'}")
    try:
        migrate.upgrade(database)
        add_instance(database, Registration(INSTANCE, ACCOUNT, "db", "mariadb", "10.11.6"), NOW)
        yield database
    finally:
        database.close()


def a_backup(**differences: Any) -> Backup:
    """Each value is another."""
    values: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "account_id": ACCOUNT,
        "instance_id": INSTANCE,
        "active_instance": None,
        "parent_id": str(uuid.uuid4()),
        "name": "nightly",
        "description": "by a timer",
        "status": State.DELETE_FAILED,
        "former_status": State.COMPLETED,
        "created": NOW.replace(hour=1),
        "updated": NOW.replace(hour=2),
        "heard": NOW.replace(hour=3),
        "sequence": 4,
        "told": NOW.replace(hour=5),
        "phase": "copying",
        "progress": 6,
        "size": 7.5,
        "location": "s3://somewhere",
        "checksum": "ab" * 32,
        "datastore_type": "mariadb",
        "datastore_version": "10.11.6",
        "datastore_version_id": "mariadb-10.11.6",
        "error_code": "code",
        "error_message": "message",
        "error_hint": "hint",
        "verified": NOW.replace(hour=8),
    }
    return Backup(**{**values, **differences})


def put(database: Database, *rows: Backup) -> None:
    database.write(lambda connection: connection.execute(insert(backups), [columns_of(row) for row in rows]))

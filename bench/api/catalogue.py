"""The catalogue before anybody asks: instances, and the backups of months."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, insert, text

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.reading import Place
from backup_agent.api.catalogue.registering import Registration, add_instance
from backup_agent.api.catalogue.tables import backups, instances
from backup_agent.domain.state import State
from tests.agent import ACCOUNT
from tests.api.fleet import MANIFEST

_AT_ONCE = 2000
_APART = timedelta(seconds=50)
_FAILED_EACH = 20
_OF_THE_FIRST = 20
"""Each so many-th backup is the first instance's, so that its list has a whole page in a small catalogue, too."""


def register(url: str, instance_ids: Sequence[str]) -> None:
    """All belong to one account: what is counted, locked and listed by account is then as much as can be."""
    now = datetime.now(UTC)
    with closing(Database(url)) as database:
        add_instance(database, Registration(instance_ids[0], ACCOUNT, "db-0", "mariadb", "10.11.6"), now)
        rows = [
            {
                "id": instance_id,
                "account_id": ACCOUNT,
                "name": f"db-{number}",
                "datastore_type": "mariadb",
                "datastore_version": "10.11.6",
                "created": now,
            }
            for number, instance_id in enumerate(instance_ids)
        ][1:]
        if rows:
            database.write(lambda connection: connection.execute(insert(instances), rows))


def fill(url: str, instance_ids: Sequence[str], numbers: range) -> Place:
    """Backups that have ended, one each 50 seconds, the first the newest; the place in the middle of these."""
    now = datetime.now(UTC) - timedelta(hours=1)
    middle = _row(instance_ids, numbers[len(numbers) // 2], now)
    with closing(Database(url)) as database:
        for start in range(numbers.start, numbers.stop, _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, numbers.stop))
            rows = [
                middle if number == numbers[len(numbers) // 2] else _row(instance_ids, number, now) for number in part
            ]
            database.write(partial(_insert, rows=rows))
        if database.engine.dialect.name == "postgresql":  # it does both itself, within minutes
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for work in ("VACUUM ANALYZE", "CHECKPOINT"):
                    connection.execute(text(work))
    return Place(middle["created"], middle["id"])


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(insert(backups), rows)


def _row(instance_ids: Sequence[str], number: int, now: datetime) -> dict[str, Any]:
    backup_id = str(uuid.uuid4())
    instance_id = instance_ids[0 if number % _OF_THE_FIRST == 1 else number % len(instance_ids)]
    begun = now - number * _APART
    failed = number % _FAILED_EACH == 0
    ended = begun + timedelta(minutes=7)
    return {
        "id": backup_id,
        "account_id": ACCOUNT,
        "instance_id": instance_id,
        "name": f"nightly {begun:%Y-%m-%d}",
        "description": "taken by a timer",
        "status": State.FAILED if failed else State.COMPLETED,
        "created": begun,
        "updated": ended,
        "heard": ended,
        "sequence": 214,
        "told": ended,
        "progress": 63 if failed else 100,
        "size": None if failed else 13.7,
        "location": None if failed else MANIFEST.format(instance=instance_id, backup=backup_id),
        "checksum": None if failed else "ab" * 32,
        "datastore_type": "mariadb",
        "datastore_version": "10.11.6",
        "datastore_version_id": "mariadb-10.11.6",
        "error_code": "engine_failed" if failed else None,
        "error_message": "the engine ended with status 1" if failed else None,
        "error_hint": "Read its log." if failed else None,
    }

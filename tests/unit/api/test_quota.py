"""How many backups an account may have, when old ones are not counted each time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.quota import Quota
from backup_agent.api.catalogue.tables import backups
from tests.unit.api.catalogue import ACCOUNT, NOW, a_backup, new_catalogue, put

OLD = NOW - timedelta(hours=1)
LATER = NOW + timedelta(seconds=1)
MUCH_LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_catalogue(tmp_path) as database:
        yield database


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are many."""
    monkeypatch.setattr("backup_agent.api.catalogue.quota._FEW", 1)


def reached(quota: Quota, database: Database, now: datetime, account: str = ACCOUNT) -> bool:
    return database.write(lambda connection: quota.is_reached(connection, account, now))


def add(database: Database, created: datetime, count: int) -> None:
    put(database, *(a_backup(created=created) for _ in range(count)))


def remove_all(database: Database) -> None:
    database.write(lambda connection: connection.execute(delete(backups)))


def test_old_and_new_backups_count_and_deleted_ones_do_not(database: Database) -> None:
    quota = Quota(3)
    assert not reached(quota, database, NOW)
    add(database, OLD, 1)
    add(database, NOW, 1)
    assert not reached(quota, database, NOW)
    add(database, OLD, 1)
    assert reached(quota, database, NOW)
    assert not reached(quota, database, NOW, "another account")
    remove_all(database)
    assert not reached(quota, database, NOW)


def test_who_may_have_none_may_have_none(database: Database) -> None:
    assert reached(Quota(0), database, NOW)


@pytest.mark.usefixtures("large")
def test_new_backups_of_a_large_account_count_at_once(database: Database) -> None:
    quota = Quota(8)
    add(database, OLD, 5)
    assert not reached(quota, database, NOW)
    add(database, NOW, 2)
    assert not reached(quota, database, LATER)
    add(database, LATER, 1)
    assert reached(quota, database, LATER)


@pytest.mark.usefixtures("large")
def test_a_large_account_that_has_deleted_some_may_have_others_at_once(database: Database) -> None:
    quota = Quota(6)
    add(database, OLD, 5)
    assert not reached(quota, database, NOW)
    remove_all(database)
    add(database, NOW, 5)
    assert not reached(quota, database, LATER)
    add(database, NOW, 1)
    assert reached(quota, database, LATER)


@pytest.mark.usefixtures("large")
def test_old_backups_that_a_large_account_is_told_of_late_count_some_time_later(database: Database) -> None:
    quota = Quota(6)
    add(database, OLD, 5)
    assert not reached(quota, database, NOW)
    add(database, OLD, 1)
    assert not reached(quota, database, LATER)
    assert reached(quota, database, MUCH_LATER)

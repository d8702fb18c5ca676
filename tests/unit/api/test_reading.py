"""What is read is what was written, whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from backup_agent.api.catalogue import reading
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.reading import Place, Wanted
from tests.unit.api.catalogue import ACCOUNT, INSTANCE, NOW, a_backup, new_catalogue, put

BACKUPS = [a_backup(created=NOW - timedelta(seconds=number)) for number in range(4)]
OTHER = a_backup(datastore_type="mysql", datastore_version_id="mysql-8.0", created=NOW - timedelta(days=1))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with new_catalogue(tmp_path_factory.mktemp("catalogue")) as database:
        put(database, *BACKUPS, OTHER)
        yield database


def page(database: Database, wanted: Wanted, after: Place | None = None, limit: int = 10) -> Sequence[object]:
    with database.reading() as connection:
        return reading.page_of_backups(connection, wanted, after, limit)


def test_a_backup_is_found_with_all_that_is_known_of_it(database: Database) -> None:
    with database.reading() as connection:
        assert reading.find_backup(connection, OTHER.id, ACCOUNT) == OTHER
        assert reading.find_backup(connection, OTHER.id, None) == OTHER
        assert reading.find_backup(connection, OTHER.id, "another account") is None


def test_an_instance_is_found_with_all_that_is_known_of_it(database: Database) -> None:
    with database.reading() as connection:
        (found,) = reading.page_of_instances(connection, ACCOUNT, None, 10)
        assert reading.find_instance(connection, INSTANCE, ACCOUNT) == found
        assert reading.find_instance(connection, INSTANCE, "another account") is None
        assert reading.page_of_instances(connection, None, Place(found.created, found.id), 10) == []
    assert (found.id, found.account_id, found.name) == (INSTANCE, ACCOUNT, "db")
    assert (found.datastore_type, found.datastore_version, found.created) == ("mariadb", "10.11.6", NOW)


def test_a_page_begins_after_a_place_and_holds_the_newest_first(database: Database) -> None:
    after = Place(BACKUPS[1].created, BACKUPS[1].id)
    assert page(database, Wanted(ACCOUNT), limit=2) == BACKUPS[:2]
    assert page(database, Wanted(ACCOUNT), after, 2) == BACKUPS[2:]
    assert page(database, Wanted(None, INSTANCE), after) == [*BACKUPS[2:], OTHER]


def test_a_page_holds_what_is_wanted(database: Database) -> None:
    assert page(database, Wanted("another account")) == []
    assert page(database, Wanted(ACCOUNT, "another instance")) == []
    assert page(database, Wanted(None, INSTANCE, "mysql")) == [OTHER]
    assert page(database, Wanted(ACCOUNT, None, "mysql-8.0")) == [OTHER]

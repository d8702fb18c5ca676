"""The catalogue in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from backup_agent.api.catalogue import migrate
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.tables import metadata
from backup_agent.errors import CatalogueError, ConfigError, ErrorCode


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'catalogue.db'}")) as database:
        yield database


def test_the_migrations_make_the_tables_that_the_program_uses(database: Database) -> None:
    migrate.upgrade(database)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_database_is_made_ready_once_and_then_left_alone(database: Database) -> None:
    with pytest.raises(CatalogueError) as caught:
        migrate.check(database)
    assert caught.value.code is ErrorCode.CATALOGUE_OUTDATED
    migrate.make_ready(database)
    migrate.make_ready(database)
    migrate.check(database)


def test_tables_of_a_newer_version_are_refused(database: Database) -> None:
    migrate.upgrade(database)
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for use in (migrate.check, migrate.make_ready):
        with pytest.raises(CatalogueError) as caught:
            use(database)
        assert caught.value.code is ErrorCode.CATALOGUE_NEWER


@pytest.mark.parametrize(
    "url",
    ["", "catalogue.db", "sqlite://", "sqlite:///:memory:", "mongodb://x/y", "postgresql:/a:s3cret@h", "oracle://"],
)
def test_a_url_that_can_not_be_used_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url") as caught:
        Database(url)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_no_database_is_said_to_be_unusable(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.db"
    file.write_text("no database at all " * 100)
    with closing(Database(f"sqlite:///{file}")) as database, pytest.raises(CatalogueError) as caught:
        migrate.make_ready(database)
    assert caught.value.code is ErrorCode.CATALOGUE_UNUSABLE


def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path / 'file' / 'sub' / 'a.db'}"
    with closing(Database(url)) as database, pytest.raises(CatalogueError, match=r"can't be made"):
        migrate.make_ready(database)


def test_who_writes_waits_for_another_process_that_writes(database: Database, tmp_path: Path) -> None:
    migrate.upgrade(database)
    began, written = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        connection.execute(text("DELETE FROM tombstones"))
        written.set()

    def write() -> None:
        began.set()
        database.write(work)

    with closing(sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = threading.Thread(target=write)
        writer.start()
        began.wait()
        other.execute("INSERT INTO tombstones VALUES ('a', 'b', 1)")
        assert not written.is_set()
        other.execute("COMMIT")
        writer.join()
    with database.reading() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM tombstones")).scalar_one() == 0


def test_who_can_not_write_for_too_long_is_told_so(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(database)
    monkeypatch.setattr("backup_agent.api.catalogue.sqlite._BUSY_S", 0.01)
    with closing(sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogueError, match="database is locked"):
            database.write(lambda connection: connection.execute(text("DELETE FROM tombstones")))
        other.execute("COMMIT")
    database.write(lambda connection: connection.execute(text("DELETE FROM tombstones")))

"""A journal of an older version is brought to this one in place: nothing in it is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backup_agent.domain.event import EventType
from backup_agent.domain.state import State
from backup_agent.errors import JournalError
from backup_agent.journal import schema
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, add, bodies

FIRST_OUTBOX = (
    "CREATE TABLE outbox ( id INTEGER PRIMARY KEY AUTOINCREMENT, backup_id TEXT NOT NULL REFERENCES jobs (id), "
    "type TEXT NOT NULL, routing_key TEXT NOT NULL, body BLOB NOT NULL, recorded TEXT NOT NULL ) STRICT"
)
"""As version 1 had it."""


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture(params=[1, 2])
def older(request: pytest.FixtureRequest, path: Path) -> Path:
    """A journal of an older version: a backup that has completed, one that runs, and two of five events still to be
    told.
    """
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.ACCEPTED, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    add(journal, EventType.STARTED, EventType.WARNING)
    for event in journal.pending(2):
        journal.confirmed(event.id)
    journal.confirmed(5)
    journal.close()
    with raw(path) as connection:
        connection.execute("DROP TABLE verdicts")
        if request.param == 1:
            make_first(connection)
        connection.execute(f"PRAGMA user_version = {request.param}")
    return path


def make_first(second: sqlite3.Connection) -> None:
    for name in ("tasks", "told"):
        second.execute(f"DROP TABLE {name}")
    rows = second.execute("SELECT * FROM outbox").fetchall()
    second.execute("DROP TABLE outbox")
    second.execute(FIRST_OUTBOX)
    second.execute("CREATE INDEX outbox_backup ON outbox (backup_id, type)")
    second.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)", rows)
    second.execute("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'outbox'")


def test_a_journal_of_an_older_version_is_gone_on_with(older: Path) -> None:
    journal = SqliteJournal(older, outbox=True)
    job = journal.job(BACKUP)
    assert job is not None
    assert (job.state, job.sequence) == (State.COMPLETED, 3)
    assert len(journal.active()) == 1
    assert bodies(journal) == ["backup.completed 3", "backup.started 1"]
    add(journal, EventType.STARTED)
    numbers = [event.id for event in journal.pending(10)]
    journal.close()
    assert numbers == [3, 4, 6], "no number is given twice"
    again = SqliteJournal(older, outbox=True)
    assert len(bodies(again)) == 3
    again.close()
    with raw(older) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_one_that_is_only_looked_at_stays_as_it_is(older: Path) -> None:
    before = older.read_bytes()
    snapshot = JournalReader(older).snapshot()
    assert (len(snapshot.active), snapshot.outbox_depth) == (1, 2)
    assert (list(snapshot.tasks), list(snapshot.verdicts)) == ([], [])
    assert older.read_bytes() == before


def test_a_migration_that_is_interrupted_has_changed_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STATEMENTS", {**schema.STATEMENTS, "verdicts": "CREATE TABLE nonsense"})
    with pytest.raises(JournalError):
        SqliteJournal(older, outbox=True)
    monkeypatch.undo()
    journal = SqliteJournal(older, outbox=True)
    assert len(bodies(journal)) == 2
    journal.close()


def test_a_damaged_one_is_set_aside_not_mended(older: Path) -> None:
    with raw(older) as connection:
        connection.execute("DROP TABLE outcomes")
    with pytest.raises(JournalError, match="its tables are not those"):
        SqliteJournal(older, outbox=True)
    assert not older.exists()

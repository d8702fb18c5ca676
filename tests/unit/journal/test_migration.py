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

SINCE = ("tasks_open", "tasks", "told")
FIRST_OUTBOX = (
    "CREATE TABLE outbox ( id INTEGER PRIMARY KEY AUTOINCREMENT, backup_id TEXT NOT NULL REFERENCES jobs (id), "
    "type TEXT NOT NULL, routing_key TEXT NOT NULL, body BLOB NOT NULL, recorded TEXT NOT NULL ) STRICT"
)
"""As version 1 had it."""


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def first(path: Path) -> Path:
    """A journal of version 1: a backup that has completed, one that runs, and two of five events still to be told."""
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.ACCEPTED, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    add(journal, EventType.STARTED, EventType.WARNING)
    for event in journal.pending(2):
        journal.confirmed(event.id)
    journal.confirmed(5)
    journal.close()
    with raw(path) as connection:
        for name in SINCE:
            kind = "INDEX" if name == "tasks_open" else "TABLE"
            connection.execute(f"DROP {kind} {name}")
        rows = connection.execute("SELECT * FROM outbox").fetchall()
        connection.execute("DROP TABLE outbox")
        connection.execute(FIRST_OUTBOX)
        connection.execute("CREATE INDEX outbox_backup ON outbox (backup_id, type)")
        connection.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'outbox'")
        connection.execute("PRAGMA user_version = 1")
    return path


def test_a_journal_of_the_first_version_is_gone_on_with(first: Path) -> None:
    journal = SqliteJournal(first, outbox=True)
    job = journal.job(BACKUP)
    assert job is not None
    assert (job.state, job.sequence) == (State.COMPLETED, 3)
    assert len(journal.active()) == 1
    assert bodies(journal) == ["backup.completed 3", "backup.started 1"]
    add(journal, EventType.STARTED)
    numbers = [event.id for event in journal.pending(10)]
    journal.close()
    assert numbers == [3, 4, 6], "no number is given twice"
    again = SqliteJournal(first, outbox=True)
    assert len(bodies(again)) == 3
    again.close()
    with raw(first) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_one_that_is_only_looked_at_stays_as_it_is(first: Path) -> None:
    before = first.read_bytes()
    snapshot = JournalReader(first).snapshot()
    assert (len(snapshot.active), list(snapshot.tasks), snapshot.outbox_depth) == (1, [], 2)
    assert first.read_bytes() == before


def test_a_migration_that_is_interrupted_has_changed_nothing(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STATEMENTS", {**schema.STATEMENTS, "told": "CREATE TABLE nonsense"})
    with pytest.raises(JournalError):
        SqliteJournal(first, outbox=True)
    monkeypatch.undo()
    journal = SqliteJournal(first, outbox=True)
    assert len(bodies(journal)) == 2
    journal.close()


def test_a_damaged_one_is_set_aside_not_mended(first: Path) -> None:
    with raw(first) as connection:
        connection.execute("DROP TABLE outcomes")
    with pytest.raises(JournalError, match="its tables are not those"):
        SqliteJournal(first, outbox=True)
    assert not first.exists()

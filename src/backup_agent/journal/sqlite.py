"""The journal in a SQLite file: implements Journal, Outbox and View. What the file is like is file.py's business."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from backup_agent.domain.state import State
from backup_agent.errors import JournalError
from backup_agent.journal import faults, rows, views
from backup_agent.journal.connection import Connection, Pool, connect_writing
from backup_agent.journal.file import JournalFile
from backup_agent.journal.interface import Job, Outgoing, Snapshot
from backup_agent.journal.sqlite_tasks import open_tasks
from backup_agent.journal.tasks import Task
from backup_agent.journal.transaction import SqliteTransaction, active, find, unclean


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteJournal:
    """One process's hold on the journal of an instance. Safe from any thread."""

    def __init__(self, path: Path, *, outbox: bool, now: Callable[[], datetime] = _now) -> None:
        """Raises JournalError as JournalFile does: one that is damaged was set aside, and may be opened anew at once.

        Without `outbox` no event is kept for a broker. `now` is the wall clock.
        """
        self._file = JournalFile(path, now)
        self._outbox = outbox
        self._now = now
        self._pool = Pool(self._connect, self._closed_error)
        self._turn = threading.Lock()
        self._writer: int | None = None
        self._told = threading.Condition()
        self._news = False
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        with self._writing() as connection:
            transaction = SqliteTransaction(connection, self._now, outbox=self._outbox)
            try:
                yield transaction
            finally:
                transaction.end()
        if transaction.told:
            self._tell()

    def job(self, backup_id: str) -> Job | None:
        with self._pool.connection() as connection:
            return find(connection, backup_id)

    def active(self) -> Sequence[Job]:
        with self._pool.connection() as connection:
            return active(connection)

    def tasks(self) -> Sequence[Task]:
        with self._pool.connection() as connection:
            return open_tasks(connection)

    def unclean(self) -> Sequence[Job]:
        with self._pool.connection() as connection:
            return unclean(connection)

    def jobs(self, limit: int) -> Sequence[Job]:
        with self._pool.connection() as connection:
            return views.newest(connection, limit)

    def last_completed(self) -> Job | None:
        with self._pool.connection() as connection:
            return views.last(connection, State.COMPLETED)

    def forget_before(self, moment: datetime) -> int:
        with self._writing() as connection:
            gone = connection.rows(
                "DELETE FROM jobs WHERE ended < ? AND NOT unclean AND id NOT IN (SELECT backup_id FROM outbox)"  # noqa: S608 - ours
                f" AND number NOT IN (SELECT * FROM ({views.LAST}) UNION ALL SELECT * FROM ({views.LAST}))"
                " RETURNING number",
                (rows.text(moment), State.COMPLETED.value, State.FAILED.value),
            )
            connection.rows("DELETE FROM tasks WHERE ended < ?", (rows.text(moment),))
            connection.rows("DELETE FROM told WHERE updated < ?", (rows.text(moment),))
        return len(gone)

    def snapshot(self) -> Snapshot:
        with self._pool.connection() as connection:
            return views.snapshot(connection)

    def pending(self, limit: int) -> Sequence[Outgoing]:
        with self._pool.connection() as connection:
            return views.pending(connection, limit)

    def confirmed(self, event_id: int) -> None:
        with self._writing() as connection:
            connection.rows("DELETE FROM outbox WHERE id = ?", (event_id,))

    def depth(self) -> int:
        with self._pool.connection() as connection:
            return views.depth(connection)

    def wait(self, seconds: float) -> bool:
        with self._told:
            self._told.wait_for(lambda: self._news or self._closed, seconds)
            news, self._news = self._news, False
            return news

    def close(self) -> None:
        self._pool.close()
        with self._told:
            self._closed = True
            self._told.notify_all()

    def _tell(self) -> None:
        with self._told:
            self._news = True
            self._told.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The only writer of this process: SQLite would let the others sleep and look again, and the unlucky starve."""
        if self._writer == threading.get_ident():
            msg = "a transaction within a transaction would wait for itself"
            raise RuntimeError(msg)
        if not self._turn.acquire(timeout=faults.BUSY_SECONDS):
            raise faults.busy(self._file.path)
        self._writer = threading.get_ident()
        try:
            yield
        finally:
            self._writer = None
            self._turn.release()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that writes. What is acknowledged was on disk, in the file that the next start finds."""
        with self._alone(), self._pool.connection() as connection:
            connection.rows("BEGIN IMMEDIATE")
            try:
                self._file.check_in_place()
                yield connection
                connection.rows("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.rows("ROLLBACK")
            self._file.check_in_place()

    def _connect(self) -> Connection:
        try:
            return Connection(connect_writing(self._file.path), self._file)
        except sqlite3.Error as error:
            raise self._file.fault(error) from error

    def _closed_error(self) -> JournalError:
        return faults.unusable(self._file.path, "is closed")

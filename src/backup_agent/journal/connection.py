"""Connections to a journal: how they are set up, and a pool of them. Which file, and whether it is sound, is not asked.

A connection is used by one thread at a time, for one call: so as many are open as calls were ever made at once, and
none is left behind by a thread that has ended.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from backup_agent.errors import JournalError
from backup_agent.journal import faults
from backup_agent.journal.rows import Row

T = TypeVar("T")

_KEPT = 4
"""Idle connections at most: the agent's threads rarely look at once."""


class Complaints(Protocol):
    """What is done about a fault of the file: the error to be raised."""

    def fault(self, error: sqlite3.Error) -> JournalError: ...

    def damaged(self, why: str) -> JournalError: ...


def connect(path: Path, query: str) -> sqlite3.Connection:
    """A bare connection; `query` is that of SQLite's URI. Statements are committed one by one, outside BEGIN."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=faults.BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def connect_writing(path: Path) -> sqlite3.Connection:
    """To a file that is there. Set up so that what is committed is on disk."""
    raw = connect(path, "mode=rw")
    try:
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute("PRAGMA cell_size_check = ON")
        raw.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        raw.close()
        raise
    return raw


class Connection:
    """A connection whose errors are JournalErrors. For one thread."""

    def __init__(self, raw: sqlite3.Connection, complaints: Complaints) -> None:
        self._raw = raw
        self._complaints = complaints

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def close(self) -> None:
        self._raw.close()

    def rows(self, statement: str, parameters: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        try:
            return self._raw.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._complaints.fault(error) from error

    def read(
        self, make: Callable[[Row], T], statement: str, parameters: Sequence[object] | dict[str, object] = ()
    ) -> list[T]:
        """The rows as what `make` makes of them; it raises ValueError or TypeError when a row is none of ours."""
        found = self.rows(statement, parameters)
        try:
            return [make(row) for row in found]
        except (ValueError, TypeError) as error:
            raise self._complaints.damaged(f"an entry can't be read: {type(error).__name__}") from error


class Pool:
    """The connections of one process to one file. Safe from any thread."""

    def __init__(self, connect: Callable[[], Connection], closed: Callable[[], JournalError]) -> None:
        """`closed` makes the error of whoever comes after `close`."""
        self._connect = connect
        self._closed_error = closed
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One that nobody else uses meanwhile. One that has failed is not used again."""
        with self._lock:
            if self._closed:
                raise self._closed_error()
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        except JournalError:
            connection.close()
            raise
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed and not connection.in_transaction and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes those in use as soon as they are given back. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

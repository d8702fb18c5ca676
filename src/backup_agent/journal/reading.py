"""A journal to look at, while an agent works on it or when none does: implements View. Makes and alters nothing.

SQLite has no one way to do that. Where a -wal file is, somebody has the journal open, or was killed: it is read with
that file, by the -shm file or, when nobody keeps that, by one built in memory. Where none is, the file alone is
complete; that nobody has begun to write meanwhile is looked at afterwards.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backup_agent.errors import JournalError
from backup_agent.journal import faults, schema, views
from backup_agent.journal.connection import Connection, connect
from backup_agent.journal.interface import Snapshot

T = TypeVar("T")

_TRIES = 20
"""An agent that opens or closes the journal at that moment spoils one."""


class JournalReader:
    """Keeps nothing open between two calls. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is a journal: nobody has used the agent yet otherwise. Raises JournalError (`journal_unusable`)
        when that can't be seen.
        """
        return self._status("") is not None

    def snapshot(self) -> Snapshot:
        """Raises JournalError. A damaged journal is left where it is: who opens it to work with sets it aside."""
        return self._look(views.snapshot)

    def completed(self) -> Sequence[bytes]:
        """The last event of each backup that completed and was not deleted since; none without a journal. Raises
        JournalError.
        """
        return self._look(lambda connection, _: views.completed(connection)) if self.exists() else ()

    def _look(self, read: Callable[[Connection, int], T]) -> T:
        """`read` is told the version of the journal: this one, or an older one."""
        for _ in range(_TRIES):
            before = self._state()
            try:
                with closing(self._connect(before)) as raw:
                    found = self._read(raw, before, read)
            except (sqlite3.Error, JournalError) as error:
                if before == self._state():
                    raise self.fault(error) if isinstance(error, sqlite3.Error) else error from error
                continue
            if before.wal or before == self._state():
                return found
        raise faults.unusable(self.path, "could not be read: it was opened and closed all the time")

    def fault(self, error: sqlite3.Error) -> JournalError:
        return self.damaged(str(error)) if faults.is_damage(error) else faults.of_sqlite(self.path, error)

    def damaged(self, why: str) -> JournalError:
        return faults.corrupt(self.path, why, "it was left where it is")

    def _connect(self, state: _State) -> sqlite3.Connection:
        if state.wal and not state.shm:
            raise faults.unrecovered(self.path)
        return connect(self.path, "mode=ro&readonly_shm=1" if state.wal else "immutable=1")

    def _read(self, raw: sqlite3.Connection, state: _State, read: Callable[[Connection, int], T]) -> T:
        try:
            version = schema.judge(raw, None if state.wal or state.file is None else state.file[2])
        except schema.Unfit as error:
            raise self.damaged(str(error)) from error
        if version > schema.VERSION:
            raise faults.newer(self.path, version, schema.VERSION)
        return read(Connection(raw, self), version)

    def _state(self) -> _State:
        file = self._status("")
        return _State(
            file and (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns),
            wal=self._status("-wal") is not None,
            shm=self._status("-shm") is not None,
        )

    def _status(self, end: str) -> os.stat_result | None:
        try:
            return Path(f"{self.path}{end}").lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise faults.of_system(self.path, error) from error


@dataclass(frozen=True, slots=True)
class _State:
    """What is on disk. Alike before and after: nobody has opened, closed or changed the journal meanwhile."""

    file: tuple[int, int, int, int] | None
    wal: bool
    shm: bool

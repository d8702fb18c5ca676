"""The journal's file: made whole or not at all, looked at when it is opened, set aside when it is not what was written.

What it does not do: read or write jobs. Danger: this process must never open the file but by SQLite, because closing it
would drop all of SQLite's locks on it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from backup_agent import directories
from backup_agent.errors import JournalError
from backup_agent.journal import faults, schema
from backup_agent.journal.connection import connect_writing
from backup_agent.journal.rows import text

log = structlog.get_logger(__name__)

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
"""Backups' names, and what errors say, are nobody else's business. SQLite gives its -wal and -shm the same mode, and as
root the same owner.
"""
_PARTS = ("", "-wal", "-shm")
"""The ends of a database's names. The second holds what is committed and not yet in the first."""
_TICK_SECONDS = 0.01


class JournalFile:
    """One file, as this process knows it. Safe from any thread."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """Opens it, made if it is absent, with its directory.

        Raises JournalError: `journal_unusable`; `journal_newer`, and leaves it alone; `journal_corrupt` when it is
        damaged, or another program's: it was then set aside, so that the next one to open it begins a new one.
        """
        self.path = path
        self._now = now
        if sqlite3.sqlite_version_info < schema.SQLITE:
            raise faults.outdated(path, sqlite3.sqlite_version, ".".join(map(str, schema.SQLITE)))
        try:
            directories.make(path.parent, DIRECTORY_MODE)
            with self._alone():
                if not self._is_there():
                    self._make()
                self._identity = self._look()
        except OSError as error:
            raise faults.of_system(path, error) from error

    def check_in_place(self) -> None:
        """Raises JournalError when the file is not at its path any more: what is written to it is not found again."""
        try:
            found = _identity(self.path)
        except OSError as error:
            raise faults.of_system(self.path, error) from error
        if found != self._identity:
            raise faults.unusable(self.path, "was removed or replaced while it was in use")

    def fault(self, error: sqlite3.Error) -> JournalError:
        """The JournalError for what SQLite met. A damaged file is set aside."""
        return self.damaged(str(error)) if faults.is_damage(error) else faults.of_sqlite(self.path, error)

    def damaged(self, why: str) -> JournalError:
        """Sets the file aside, if nobody else has; the JournalError that says so."""
        try:
            with self._alone():
                if _identity(self.path) != self._identity:
                    return faults.corrupt(self.path, why, "it was set aside")
                return self._set_aside("corrupt", why)
        except OSError as error:
            return faults.corrupt(self.path, why, f"it could not be set aside: {error.strerror}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process makes, judges or renames files of the directory meanwhile."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + faults.BUSY_SECONDS
            while not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise faults.busy(self.path)
                time.sleep(_TICK_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _is_there(self) -> bool:
        """Refuses links: root would write where another user wants it to. A part without the file is half a journal."""
        try:
            status = self.path.lstat()
        except FileNotFoundError as error:
            wal = Path(f"{self.path}-wal")
            if wal.exists() and wal.stat().st_size:
                raise self._set_aside("corrupt", f"the file is gone, but {wal.name} is there") from error
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise faults.unusable(self.path, "is not a plain file with one name")
        return True

    def _make(self) -> None:
        """Under another name first: so an empty or half-made file at the path is damage, and never a new journal."""
        draft = self.path.with_name(f"{self.path.name}.new")
        for end in (*_PARTS, "-journal"):
            Path(f"{draft}{end}").unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask
            if os.geteuid() == 0:
                # Made by root's `run-once`, used by the service of the directory's owner afterwards.
                directory = self.path.parent.stat()
                os.fchown(descriptor, directory.st_uid, directory.st_gid)
        finally:
            os.close(descriptor)
        try:
            with closing(connect_writing(draft)) as raw:
                schema.write(raw, text(self._now()))
        except sqlite3.Error as error:
            raise faults.of_sqlite(self.path, error) from error
        for end in _PARTS[1:]:  # of an earlier one, and empty: SQLite would take them for this one's
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        draft.rename(self.path)
        _sync(self.path.parent)

    def _look(self) -> tuple[int, int]:
        """Its identity, when it is a sound journal that can be written, brought to this version if it is older."""
        identity = _identity(self.path)
        size = None if Path(f"{self.path}-wal").exists() else self.path.stat().st_size
        if identity is None:
            raise faults.unusable(self.path, "was removed while it was opened")
        try:
            with closing(connect_writing(self.path)) as raw:
                version = schema.judge(raw, size)
                raw.execute("BEGIN IMMEDIATE")  # SQLite opens what can't be written all the same, for reading
                raw.execute("ROLLBACK")
                if version < schema.VERSION:
                    schema.migrate(raw, version)
                    log.info("the journal was brought to a newer version", before=version, now=schema.VERSION)
        except sqlite3.Error as error:
            if not faults.is_damage(error):
                raise faults.of_sqlite(self.path, error) from error
            raise self._set_aside("corrupt", str(error)) from error
        except schema.Unfit as error:
            raise self._set_aside(error.kind, str(error)) from error
        if version > schema.VERSION:
            raise faults.newer(self.path, version, schema.VERSION)
        return identity

    def _set_aside(self, kind: str, why: str) -> JournalError:
        """Renames the file and its parts, the file first: a part alone is noticed. Returns the error to be raised."""
        aside = self._free_name(f"{self.path.name}.{kind}-{self._now():%Y%m%dT%H%M%SZ}")
        kept = f"it was set aside as {aside}"
        try:
            for end in _PARTS:
                part = Path(f"{self.path}{end}")
                if os.path.lexists(part):
                    part.rename(f"{aside}{end}")
            _sync(self.path.parent)
        except OSError as error:
            kept = f"it could not be set aside: {error.strerror}"
        found = faults.corrupt(self.path, why, kept)
        log.error(
            "the journal was set aside: what it remembered is out of the agent's sight",
            path=str(self.path),
            kept=str(aside),
            reason=why,
            code=found.code.value,
            hint=found.hint,
        )
        return found

    def _free_name(self, name: str) -> Path:
        aside, number = self.path.with_name(name), 1
        while any(os.path.lexists(f"{aside}{end}") for end in _PARTS):
            number += 1
            aside = self.path.with_name(f"{name}-{number}")
        return aside


def is_made(path: Path) -> bool:
    """Whether there is a journal, or a part of one. Makes nothing. Raises JournalError where it could not be made."""
    if any(os.path.lexists(f"{path}{end}") for end in _PARTS):
        return True
    try:
        directories.where(path.parent)
    except OSError as error:
        raise faults.of_system(path, error) from error
    return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

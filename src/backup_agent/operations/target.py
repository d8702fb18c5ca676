"""The directory of a restore, from the moment it is claimed to the moment a server may use it.

Everything is made in `.backup-agent-restore/` inside the target, on the target's own file system, and moved into place
at the end. Until the very last rename, `ib_logfile0` in the target is a text: InnoDB finds a redo log without its
tablespace, or one that is no redo log, and refuses to start. So an interrupted restore can't be served by mistake.
That text is the first thing made and the last thing removed, and by it alone remains are told from other files.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from backup_agent.errors import BackupAgentError, ErrorCode, TargetError
from backup_agent.operations.flushing import flushed_meanwhile
from backup_agent.operations.tree import give, giving, remove, sync, sync_tree

STAGE = ".backup-agent-restore"
SENTINEL = "ib_logfile0"
_SENTINEL_TEXT = """This directory holds a restore by backup-agent that did not end.
Do not start a server on it. Run the restore again with --force.
"""
MARKER = "restore.json"
MOVED = "moving.json"
_ELSEWHERE = "*.isl"
"""InnoDB's notes of tables in a DATA DIRECTORY elsewhere: followed, the server would open the old files, not these."""
_OF_THE_FILE_SYSTEM = "lost+found"
"""In the root of a freshly made ext4: such a mount point counts as empty."""
_OF_A_REFUSED_START = ("aria_log*", "*.index", "*.err", "*.pid", "ddl_recovery*", "ibtmp*", "tc.log")
"""What a server makes before InnoDB refuses to start on an unfinished restore: cleared with it."""
_SPARE = 1.05
"""Free space asked for, as a multiple of the bytes that will be written: prepare grows files a little."""


class RestoreTarget:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stage = directory / STAGE
        self.base = self.stage / "base"
        self._sentinel = directory / SENTINEL
        self._claim: int | None = None

    @classmethod
    def claim(cls, directory: Path, *, force: bool, backup_id: str) -> Self:
        """Makes the directory if need be and marks it. Raises TargetError (`target_not_empty`, `target_unusable`).

        `force` clears what an interrupted restore has left; it never clears anything else. The claim is a kernel lock
        on the directory: it ends with `release`, or with the process.
        """
        target = cls(directory)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            target._lock()
            if entries := target._entries():
                target._clear(entries, force=force)
            target._make(backup_id)
        except BaseException as error:
            target.release()
            if isinstance(error, OSError):
                raise _unusable(directory, error) from error
            raise
        return target

    def _make(self, backup_id: str) -> None:
        try:
            self._sentinel.write_text(_SENTINEL_TEXT)
            sync(self._sentinel)
            sync(self.directory)
            self.stage.mkdir(mode=0o700)
            (self.stage / MARKER).write_text(json.dumps({"backup_id": backup_id, "pid": os.getpid()}))
            self.base.mkdir(mode=0o700)
        except OSError:
            self.discard()
            raise

    def _lock(self) -> None:
        self._claim = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TargetError(
                ErrorCode.TARGET_NOT_EMPTY,
                f"another restore works in {self.directory}",
                "Wait for its end, or choose another directory.",
            ) from error

    def release(self) -> None:
        """Ends the claim. Idempotent."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _clear(self, entries: list[Path], *, force: bool) -> None:
        if not self._holds_remains():
            raise self._not_empty(
                "is not empty", "Choose an empty directory. --force only clears what an interrupted restore has left."
            )
        ours = self._ours()
        if foreign := sorted(entry.name for entry in entries if not _is_ours(entry.name, ours)):
            raise self._not_empty(
                f"holds a restore that did not end, and also {', '.join(foreign[:5])}",
                "Move away what is not the restore's, then add --force.",
            )
        if not force:
            raise self._not_empty(
                "holds a restore that did not end", "Add --force to remove its remains and start afresh."
            )
        self.discard()

    def _not_empty(self, why: str, hint: str) -> TargetError:
        return TargetError(ErrorCode.TARGET_NOT_EMPTY, f"{self.directory} {why}", hint)

    def _ours(self) -> set[str]:
        """The names in the directory that are the restore's; what else appears there meanwhile is somebody else's."""
        try:
            moved: list[str] = json.loads((self.stage / MOVED).read_text())
        except FileNotFoundError:
            moved = []
        return {STAGE, SENTINEL, *moved}

    def _holds_remains(self) -> bool:
        """Not so once a restore has ended, even if it was killed before it had tidied up: a server may run there."""
        if not self._sentinel.is_file() or self._sentinel.stat().st_size > len(_SENTINEL_TEXT):
            return False
        text = self._sentinel.read_text("utf-8", "replace")
        return text == _SENTINEL_TEXT or (_SENTINEL_TEXT.startswith(text) and self._entries() == [self._sentinel])

    def discard(self) -> None:
        """Removes what is the restore's, the sentinel last. Raises TargetError."""
        try:
            ours = self._ours()
            for entry in self._entries():
                if entry.name not in {STAGE, SENTINEL} and _is_ours(entry.name, ours):
                    remove(entry)
            if self.stage.exists():
                shutil.rmtree(self.stage)
            self._sentinel.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def _entries(self) -> list[Path]:
        return [entry for entry in self.directory.iterdir() if entry.name != _OF_THE_FILE_SYSTEM]

    def check_space(self, needed: int) -> None:
        """Raises TargetError (`no_space`) unless `needed` bytes and a little more are free."""
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError as error:
            raise _unusable(self.directory, error) from error
        if free < needed * _SPARE:
            raise TargetError(
                ErrorCode.NO_SPACE,
                f"the restore needs {needed * _SPARE / 1e9:.2f} GB in {self.directory}, {free / 1e9:.2f} GB are free",
                "Free some space there, or choose a directory on a larger file system.",
            )

    def check_owner(self, owner: tuple[int, int]) -> None:
        """Raises TargetError (`owner_unknown`) unless this process may give files to that user and group id."""
        with giving():
            os.chown(self.stage / MARKER, *owner)

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Around the writing of all files: they go to disk meanwhile. Raises TargetError when they can't."""
        try:
            with flushed_meanwhile(self.stage):
                yield
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def incremental(self, number: int) -> Path:
        """A new directory for the files of incremental `number`, counted from 1. Raises TargetError."""
        path = self.stage / f"incremental-{number:03d}"
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise _unusable(self.directory, error) from error
        return path

    def remove(self, path: Path) -> None:
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def hand_over(self, restore_id_file: str, owner: tuple[int, int] | None) -> None:
        """Moves the prepared files into place; the last rename makes the directory usable. Raises TargetError.

        `restore_id_file` gets a new id, which begins a new lineage; `owner` is a user and a group id.
        """
        try:
            (self.base / restore_id_file).write_text(f"{uuid.uuid4()}\n")
            cut_off(self.base)
            self._move(self.base, owner)
            log = self.base / SENTINEL
            if log.exists():
                log.rename(self._sentinel)
            else:
                self._sentinel.unlink()
            shutil.rmtree(self.stage)
            sync(self.directory)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def hand_over_unprepared(self, owner: tuple[int, int] | None) -> None:
        """Moves `base` and the incrementals, as extracted, into place side by side. Raises TargetError."""
        try:
            (self.stage / MARKER).unlink()
            self._move(self.stage, owner)
            self._sentinel.unlink()
            shutil.rmtree(self.stage)
            sync(self.directory)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def _move(self, source: Path, owner: tuple[int, int] | None) -> None:
        """Everything but the redo log, whose place is taken last; the names are noted first, for a later `_ours`."""
        if owner is not None:
            give(source, owner)
            os.chown(self.directory, *owner)
        sync_tree(source)
        names = sorted(entry.name for entry in source.iterdir() if entry.name != SENTINEL)
        if taken := [name for name in names if (self.directory / name).exists()]:
            raise self._not_empty(f"got files of its own meanwhile: {', '.join(taken[:5])}", "Restore again elsewhere.")
        (self.stage / MOVED).write_text(json.dumps(names))
        sync(self.stage / MOVED)
        for name in names:
            (source / name).rename(self.directory / name)
        sync(self.directory)


def cut_off(datadir: Path) -> None:
    """From files elsewhere, which belong to the server that was backed up. Raises OSError."""
    for link in datadir.rglob(_ELSEWHERE):
        link.unlink()


def _is_ours(name: str, ours: set[str]) -> bool:
    return name in ours or any(fnmatch(name, pattern) for pattern in _OF_A_REFUSED_START)


def _unusable(directory: Path, error: OSError) -> BackupAgentError:
    return TargetError(
        ErrorCode.TARGET_UNUSABLE,
        f"can't restore into {directory}: {error}",
        "Check the directory's permissions and its file system.",
    )

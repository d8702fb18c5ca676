"""The one lock of an instance: whoever works on it holds it, whichever process that is.

It is a kernel lock (flock) on a file, so it ends with its process however that ends. The file's content only names the
holder for the others; what a dead holder left there means nothing. The file is never removed: a lock on a removed file
excludes nobody.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, ValidationError

from backup_agent.cancellation import Cancellation
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.domain.process import ProcessId
from backup_agent.errors import BusyError, ErrorCode, InstanceError
from backup_agent.instance.lock_file import is_at_path, open_lock_file, unusable
from backup_agent.instance.process import lives, this_process

_CONTENT_BYTES = 4096
_NAME_SECONDS = 0.5
"""How long a holder may take between getting the lock and writing its name."""
_RETRY_SECONDS = 0.01


class LockHolder(Frozen):
    """Who holds the lock, for whoever finds it held."""

    pid: int
    process_started: str
    """Tells the process from a later one with the same pid."""
    command: str
    """What it does, as the operator knows it: `backup`, `restore`."""
    backup_id: BackupId | None
    since: AwareDatetime

    @classmethod
    def here(cls, command: str, backup_id: BackupId | None, since: datetime) -> Self:
        """For the asking process."""
        process = this_process()
        return cls(
            pid=process.pid,
            process_started=process.started,
            command=command,
            backup_id=backup_id,
            since=since,
        )

    def lives(self) -> bool:
        return lives(ProcessId(pid=self.pid, started=self.process_started))

    def __str__(self) -> str:
        backup = f" of backup {self.backup_id}" if self.backup_id else ""
        since = self.since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"{self.command}{backup}, pid {self.pid}, since {since}"


class InstanceLock:
    """The lock of one instance. One object may be used again and from several threads; it holds nothing itself."""

    def __init__(self, directory: Path, instance_id: InstanceId, *, watch_seconds: float = 1.0) -> None:
        self.path = directory / f"{instance_id}.lock"
        self._watch_seconds = watch_seconds

    @contextmanager
    def acquire(self, holder: LockHolder, cancellation: Cancellation | None = None) -> Iterator[Cancellation]:
        """Holds the lock inside the context; yields `cancellation`, or a new one.

        Never waits for the lock. Raises BusyError (`instance_busy`) naming who has it, in this process or another, and
        InstanceError (`lock_unusable`). When the file is removed or replaced meanwhile, the cancellation is cancelled
        with InstanceError (`lock_lost`) within `watch_seconds`: its callbacks then run in a thread of the lock's.
        """
        token = cancellation or Cancellation()
        descriptor = self._lock()
        try:
            self._write(descriptor, holder)
            with self._watched(descriptor, token):
                yield token
        finally:
            try:
                os.ftruncate(descriptor, 0)  # this process may live on and must not be named any more
            finally:
                os.close(descriptor)

    def holder(self) -> LockHolder | None:
        """Who holds the lock now; None when nobody does, or has not named itself yet. Does not touch the lock.

        Raises InstanceError (`lock_unusable`).
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = _read(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unusable(self.path, f"can't be read: {error.strerror}") from error
        return found if found is not None and found.lives() else None

    def _lock(self) -> int:
        """The locked descriptor, which programs started meanwhile do not inherit."""
        deadline = time.monotonic() + _NAME_SECONDS
        while True:
            descriptor = open_lock_file(self.path)
            try:
                if self._try_lock(descriptor, deadline):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _try_lock(self, descriptor: int, deadline: float) -> bool:
        """False: try again from the start, because the file was replaced or its holder has not yet named itself."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _read(descriptor)
            if (holder is not None and holder.lives()) or time.monotonic() >= deadline:
                raise _busy(holder) from error
            time.sleep(_RETRY_SECONDS)
            return False
        except OSError as error:
            raise unusable(self.path, f"can't be locked: {error.strerror}") from error
        return is_at_path(descriptor, self.path)

    def _write(self, descriptor: int, holder: LockHolder) -> None:
        content = holder.model_dump_json().encode()
        try:
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        except OSError as error:
            raise unusable(self.path, f"can't be written: {error.strerror}") from error

    @contextmanager
    def _watched(self, descriptor: int, cancellation: Cancellation) -> Iterator[None]:
        released = threading.Event()

        def watch() -> None:
            while not released.wait(self._watch_seconds):
                if not is_at_path(descriptor, self.path):
                    cancellation.cancel(self._lost())
                    return

        thread = threading.Thread(target=watch, name="instance-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            released.set()
            thread.join()

    def _lost(self) -> InstanceError:
        return InstanceError(
            ErrorCode.LOCK_LOST,
            f"the lock file {self.path} was removed or replaced while it was held",
            f"Leave the files of {self.path.parent} alone (systemd: RuntimeDirectoryPreserve=yes) and start again.",
        )


def _read(descriptor: int) -> LockHolder | None:
    """None while the holder is at writing its name."""
    try:
        return LockHolder.model_validate_json(os.pread(descriptor, _CONTENT_BYTES, 0))
    except ValidationError:
        return None


def _busy(holder: LockHolder | None) -> BusyError:
    return BusyError(
        ErrorCode.INSTANCE_BUSY,
        f"instance is busy: {holder}" if holder else "instance is busy: another process holds its lock",
        "Wait for it to end, or stop it; the lock is free as soon as its process has ended.",
    )

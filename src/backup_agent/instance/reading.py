"""Who reads backups on this host, and who wants to remove some: neither can begin what would harm the other.

One file for an instance, of which each backup has one byte: readers share the bytes of their whole chain, a remover
wants those of its backups for itself. So a verification that takes hours keeps nobody from removing another chain.
They are kernel locks of the open file (F_OFD_SETLK): they end with their process however that ends, and exclude threads
of one process as well. What this does not do: know of readers on other hosts.
"""

from __future__ import annotations

import fcntl
import os
import struct
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.errors import BusyError, ErrorCode
from backup_agent.instance.lock_file import is_at_path, open_lock_file, unusable

_FLOCK = "hhqqi0q"
"""struct flock of fcntl(2): type, whence, start, length, pid (which must be 0), padded as C pads it."""
_OFFSET_BITS = 62


class ReadingLock:
    """Of the backups of one instance. Holds nothing itself; may be used from several threads."""

    def __init__(self, directory: Path, instance_id: InstanceId) -> None:
        self.path = directory / f"{instance_id}.reading"

    @contextmanager
    def reading(self, backup_ids: Iterable[BackupId]) -> Iterator[None]:
        """Inside, nobody on this host removes these backups. Give all of a chain, and look again afterwards that it is
        still there. Never waits: raises BusyError (`backup_busy`), and InstanceError (`lock_unusable`).
        """
        with self._held(backup_ids, fcntl.F_RDLCK, "is being removed"):
            yield

    @contextmanager
    def removing(self, backup_ids: Iterable[BackupId]) -> Iterator[None]:
        """Inside, nobody on this host reads these backups. Never waits: raises BusyError (`backup_busy`) as soon as one
        of them is being read (or removed), and InstanceError (`lock_unusable`).
        """
        with self._held(backup_ids, fcntl.F_WRLCK, "is being read, by a verification,"):
            yield

    @contextmanager
    def _held(self, backup_ids: Iterable[BackupId], kind: int, why_not: str) -> Iterator[None]:
        descriptor = self._open()
        try:
            for backup_id in backup_ids:
                self._lock(descriptor, backup_id, kind, why_not)
            yield
        finally:
            os.close(descriptor)  # and with it all of its locks

    def _open(self) -> int:
        while True:
            descriptor = open_lock_file(self.path)
            if is_at_path(descriptor, self.path):
                return descriptor
            os.close(descriptor)

    def _lock(self, descriptor: int, backup_id: BackupId, kind: int, why_not: str) -> None:
        start = uuid.UUID(backup_id).int >> (128 - _OFFSET_BITS)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
        except (BlockingIOError, PermissionError) as error:  # POSIX allows both for a lock that others hold
            raise BusyError(
                ErrorCode.BACKUP_BUSY,
                f"backup {backup_id} {why_not} on this host at this moment",
                "Wait for the end of that, or stop it; then ask again.",
            ) from error
        except OSError as error:
            raise unusable(self.path, f"can't be locked: {error.strerror}") from error

"""OSError of a directory store, as StoreError."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EREMOTEIO,
}


@contextmanager
def translated(operation: str, place: str) -> Iterator[None]:
    """`operation` and `place` are for the operator: what was done, to which URL."""
    try:
        yield
    except OSError as error:
        raise _translate(error, f"can't {operation} {place}: {error.strerror or error}") from error


def _translate(error: OSError, message: str) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            ErrorCode.STORE_FULL, message, "Free space or raise the quota (also of inodes), then try again."
        )
    if error.errno in _DENIED:
        return StoreError(
            ErrorCode.STORE_DENIED,
            message,
            "Let the agent's user write there, and check that the file system is not mounted read-only.",
        )
    if error.errno in _PASSING:
        return TransientStoreError(
            ErrorCode.STORE_UNREACHABLE, message, "Check the disk or the network file system and the kernel's log."
        )
    return StoreError(ErrorCode.STORE_FAILED, message, "Check the path and its file system.")

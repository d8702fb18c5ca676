"""The files of a directory store: written whole or not at all, and compared. Raises OSError."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from backup_agent.storage.leftovers import claim, temporary_name
from backup_agent.storage.local_directories import sync_directory

_BLOCK = 1 << 20
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}  # from file systems without hard links


def open_unfollowed(path: str, flags: int) -> int:
    """An opener that follows no symbolic link and does not wait for the writer of a FIFO."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def write(target: Path, body: bytes | bytearray, *, replace: bool) -> None:
    """Returns when the file is on disk, under its name.

    Raises FileExistsError when something is there that may not be replaced, and FileNotFoundError when the directory or
    the temporary file is removed meanwhile.
    """
    temporary = temporary_name(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            claim(descriptor)
            file.write(body)
            file.flush()
            os.fsync(descriptor)
            if replace:
                temporary.rename(target)
            else:
                _rename_to_free(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error says more, and a sweep removes the file later
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def holds(path: Path, body: bytes | bytearray) -> bool:
    """Whether `path` is a file of these very bytes."""
    try:
        with open(path, "rb", opener=open_unfollowed) as file:
            view = memoryview(body)
            for start in range(0, len(body), _BLOCK):
                if file.read(_BLOCK) != view[start : start + _BLOCK]:
                    return False
            return not file.read(1)
    except (IsADirectoryError, FileNotFoundError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def try_to_write(directory: Path) -> None:
    """Raises what a put would raise on a file system that is read-only, full or not this user's."""
    temporary = temporary_name(directory / "probe")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(FileNotFoundError):  # taken for a leftover
            claim(descriptor)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _rename_to_free(temporary: Path, target: Path) -> None:
    """A rename replaces what is there, a new link does not."""
    try:
        os.link(temporary, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):  # without links, another process may slip in between
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        temporary.rename(target)
    else:
        temporary.unlink()

"""The temporary files of a directory store, and how those of killed processes are found.

A put holds a lock (flock) on its temporary file until the file has its final name. A leftover is therefore a file whose
lock is free: the kernel released it when the process died. This holds between processes, and between the threads of
one. Where the file system knows no locks, nothing is ever taken for a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from backup_agent.storage.keys import is_part

_PREFIX = ".put-"


def temporary_name(target: Path) -> Path:
    """A new name beside `target`. It starts with a dot: no key can be called so, and listings pass it by."""
    return target.with_name(f"{_PREFIX}{secrets.token_hex(8)}")


def claim(descriptor: int) -> None:
    """Marks the open temporary file as in use. Raises FileNotFoundError when it was just swept away."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileNotFoundError("the temporary file was taken for a leftover") from error
    except OSError:
        return  # this file system has no locks: then nobody else can get one either, and the file is left alone


def remove_leftovers(directory: Path) -> None:
    """Removes the leftovers in `directory` if nothing else is in it; one with objects is swept with its last object."""
    leftovers = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX):
                return
            leftovers.append(Path(entry.path))
    for leftover in leftovers:
        _remove_if_abandoned(leftover)


def sweep(directory: Path) -> None:
    """Removes, below `directory`, the directories in which killed puts left leftovers or nothing at all.

    A directory with files in it is not looked through, so the cost is that of listing the directories above them. It
    may be removed meanwhile.
    """
    below = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if is_part(entry.name):
                        below.append(Path(entry.path))
                elif not entry.name.startswith(_PREFIX):
                    return
        for child in below:
            sweep(child)
            with contextlib.suppress(OSError):  # not empty: that is what most are
                child.rmdir()
        remove_leftovers(directory)
    except FileNotFoundError:
        return


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # it has got its final name, or belongs to a user who will sweep it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return  # somebody is writing it
    finally:
        os.close(descriptor)

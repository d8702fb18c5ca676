"""The files that locks lie on: made by whoever comes first, usable by root and by the service's user alike.

They are never removed: a lock on a removed file excludes nobody. What a lock means is the business of its own module.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from backup_agent import directories
from backup_agent.errors import ErrorCode, InstanceError

DIRECTORY_MODE = 0o755
"""Only its owner may make lock files in it: what another user could replace would be no lock."""
FILE_MODE = 0o660


def open_lock_file(path: Path) -> int:
    """A descriptor, which programs started meanwhile do not inherit. Makes the file, and its directory, when absent.

    Refuses links: root would write where another user wants it to. Raises InstanceError (`lock_unusable`).
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        directories.make(path.parent, DIRECTORY_MODE)
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = _create(path, flags)
    except OSError as error:
        raise unusable(path, f"can't be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise unusable(path, "is not a plain file with one name")
    return descriptor


def is_made(path: Path) -> bool:
    """Whether the file is there. Makes nothing. Raises InstanceError (`lock_unusable`) where it could not be made."""
    if os.path.lexists(path):
        return True
    try:
        directories.where(path.parent)
    except OSError as error:
        raise unusable(path, f"can't be made: {error.strerror}") from error
    return False


def is_at_path(descriptor: int, path: Path) -> bool:
    """Whether the file that was opened is still the one others will open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:  # a file that can't be seen there excludes nobody
        return False


def unusable(path: Path, what: str) -> InstanceError:
    return InstanceError(
        ErrorCode.LOCK_UNUSABLE,
        f"the lock file {path} {what}",
        f"See that instance.runtime_dir, {path.parent}, is a directory of the agent's user on a local disk.",
    )


def _create(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:  # another process was faster
        return os.open(path, flags)
    os.fchmod(descriptor, FILE_MODE)  # whatever the umask
    if os.geteuid() == 0:
        # Made by root's `run-once`, used by the service of the directory's owner afterwards.
        directory = path.parent.stat()
        os.fchown(descriptor, directory.st_uid, directory.st_gid)
    return descriptor

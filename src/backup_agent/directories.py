"""Directories that root's commands and the unprivileged service share: whoever makes one, both can use it."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def where(path: Path) -> Path:
    """`path`, or where it is not there the nearest above it that is, in which `make` would begin. Makes nothing.

    Raises OSError where that is no directory, or may not be written.
    """
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))
    return there


def make(path: Path, mode: int) -> None:
    """Makes it, and its missing parents, with `mode`; there already is no error. Raises OSError.

    Made by root, they belong to whom the nearest one that existed belongs to, as if that user had made them.
    """
    if path.is_dir():
        return
    make(path.parent, mode)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)

"""Directories that root's commands and the unprivileged service share: whoever makes one, both can use it."""

from __future__ import annotations

import os
from pathlib import Path


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

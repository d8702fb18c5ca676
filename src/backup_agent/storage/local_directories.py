"""The directories of a directory store: made, made to last, and removed when they are empty.

Other processes make and remove directories of the same store at the same time; whoever finds one gone makes it again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

from backup_agent.storage.leftovers import remove_leftovers

_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP}  # from file systems that write directories at once


class Directories:
    """Those below `root`. Safe to share between threads. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._settled: set[Path] = set()  # their entries in their parents are known to be on disk

    def make_root(self) -> None:
        """Makes the root and what is above it, as far as that is absent, and has it on disk."""
        _make_durably(self._root)

    def make(self, directory: Path) -> None:
        """Makes `directory` and those above it, but not the root: raises FileNotFoundError when that is absent."""
        with self._lock:
            for path in self._down_to(directory):
                with contextlib.suppress(FileExistsError):
                    path.mkdir(0o700)
                    self._settled.discard(path)

    def settle(self, directory: Path) -> None:
        """Returns when the entries of `directory` and of those above it are on disk.

        To be called when there is something in it: until then, another process may remove it.
        """
        with self._lock:
            for path in self._down_to(directory):
                if path not in self._settled:
                    sync_directory(path.parent)
                    self._settled.add(path)

    def prune(self, directory: Path) -> None:
        """Removes `directory` and those above it, up to the root, as far as nothing or only leftovers are in them."""
        removed = False
        with self._lock:
            while directory != self._root:
                try:
                    remove_leftovers(directory)
                    directory.rmdir()
                except (FileNotFoundError, NotADirectoryError):
                    pass  # already removed, and what is above may be empty now
                except OSError:
                    break  # in use, or not ours to remove: an empty directory is no object and harms nobody
                else:
                    removed = True
                self._settled.discard(directory)
                directory = directory.parent
        if removed:
            with contextlib.suppress(FileNotFoundError):  # it has been removed in its turn
                sync_directory(directory)

    def _down_to(self, directory: Path) -> list[Path]:
        upwards = [directory, *directory.parents]
        return upwards[: upwards.index(self._root)][::-1]


def sync_directory(directory: Path) -> None:
    """Returns when the entries in `directory` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def _make_durably(directory: Path) -> None:
    if directory.is_dir():
        return
    _make_durably(directory.parent)
    directory.mkdir(0o700, exist_ok=True)
    sync_directory(directory.parent)

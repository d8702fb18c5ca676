"""What a restore does to whole directory trees: compare, give away, make durable, remove."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from backup_agent.errors import ErrorCode, TargetError

_SYNCED_TOGETHER = 16


def files_in(directory: Path) -> dict[str, int]:
    """The size of every file below `directory`, by its path relative to it."""
    start = len(str(directory / "x")) - 1
    return {
        entry.path[start:]: entry.stat(follow_symlinks=False).st_size
        for entry in _below(directory)
        if not entry.is_dir()
    }


def _below(directory: str | Path) -> Iterator[os.DirEntry[str]]:
    """Everything, but for what symbolic links lead to."""
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def give(directory: Path, owner: tuple[int, int]) -> None:
    with giving():
        os.chown(directory, *owner)
        for entry in _below(directory):
            os.chown(entry.path, *owner, follow_symlinks=False)


@contextmanager
def giving() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise TargetError(
            ErrorCode.OWNER_UNKNOWN,
            f"can't give the restored files to their owner: {error.strerror}",
            "Run as root to use --owner, or leave it out and change the owner afterwards.",
        ) from error


def sync_tree(directory: Path) -> None:
    """Raises OSError for the first that can't be made durable.

    Several at a time, since a file system's journal takes together what waits for it: 30,000 small files on a disk that
    others use took 59 s one after the other, and 5 s so.
    """
    inside = (entry.path for entry in _below(directory) if not entry.is_symlink())
    paths = chain((str(directory),), inside)
    with ThreadPoolExecutor(_SYNCED_TOGETHER) as pool:
        while some := list(islice(paths, _SYNCED_TOGETHER * 64)):
            for _ in pool.map(sync, some):
                pass


def sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

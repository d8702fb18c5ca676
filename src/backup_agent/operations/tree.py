"""What a restore does to whole directory trees: compare, give away, make durable, remove."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_agent.errors import ErrorCode, TargetError


def files_in(directory: Path) -> dict[str, int]:
    """The size of every file below `directory`, by its path relative to it."""
    found: dict[str, int] = {}
    for parent, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            path = Path(parent, name)
            found[str(path.relative_to(directory))] = path.lstat().st_size
    return found


def _raise(error: OSError) -> None:
    raise error


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def give(directory: Path, owner: tuple[int, int]) -> None:
    with giving():
        os.chown(directory, *owner)
        for parent, directories, names in os.walk(directory, onerror=_raise):
            for name in (*directories, *names):
                os.chown(Path(parent, name), *owner, follow_symlinks=False)


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
    for parent, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

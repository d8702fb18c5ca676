"""The files of MyISAM, Aria, CSV and ARCHIVE tables as they are at one moment. Nothing here asks the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_agent.instance.access import unreadable
from backup_agent.instance.aria import HEADER_BYTES, rebuilt_at

_SUFFIXES = frozenset({".MYD", ".MYI", ".MAD", ".MAI", ".CSV", ".ARZ"})
_ARIA_INDEX = ".MAI"


@dataclass(frozen=True, slots=True)
class TableFile:
    """`size` in bytes, `modified` in nanoseconds since the epoch, `rebuilt_at` of a .MAI file (aria.rebuilt_at)."""

    size: int
    modified: int
    rebuilt_at: bytes = b""


def read_table_files(datadir: Path) -> dict[str, TableFile]:
    """By path below `datadir`. Files come and go while we look: what has vanished is left out.

    Raises InstanceError (`datadir_unreadable`).
    """
    found: dict[str, TableFile] = {}
    for database in _entries(datadir):
        if database.is_dir() and not database.name.startswith("#"):
            for entry in _entries(Path(database.path)):
                suffix = entry.name[-4:]
                if suffix in _SUFFIXES and (file := _look(Path(entry.path), suffix)) is not None:
                    found[f"{database.name}/{entry.name}"] = file
    return found


def _look(path: Path, suffix: str) -> TableFile | None:
    try:
        status = path.stat()
        if suffix != _ARIA_INDEX:
            return TableFile(status.st_size, status.st_mtime_ns)
        with path.open("rb") as file:
            return TableFile(status.st_size, status.st_mtime_ns, rebuilt_at(file.read(HEADER_BYTES)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:  # dropped since it was listed
        return
    except OSError as error:
        raise unreadable(directory, error) from error

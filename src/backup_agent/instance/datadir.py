"""Sizes from the files of a data directory, because information_schema shows a user without table privileges no tables.

Nothing here asks the server. Tables come and go while we look: what has vanished counts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backup_agent.instance.access import entries_of, unreadable
from backup_agent.instance.aria import is_copied_online

_LOCKED_SUFFIXES = frozenset({".MYD", ".MYI", ".CSV", ".CSM", ".ARZ"})
_ARIA_SUFFIXES = frozenset({".MAD", ".MAI"})
_TEMPORARY = "#sql"
"""Tables that an ALTER is building; mariadb-backup leaves them out."""
_TOP_LEVEL = ("ibdata", "undo", "aria_log")
"""What a backup copies of the data directory's own files. The redo log is copied in part, binary logs are not."""
_NOT_DATABASES = ("#", ".", "lost+found")


@dataclass(frozen=True, slots=True)
class Sizes:
    """In bytes."""

    nontransactional: int
    """Of the files that mariadb-backup copies under BACKUP STAGE FLUSH or later, while their tables are write-locked:
    MyISAM, CSV, ARCHIVE, and Aria where `aria.is_copied_online` says no."""
    total: int
    """Of the files that a full backup copies."""


def measure(datadir: Path, tablespaces: Iterable[Path] = ()) -> Sizes:
    """One stat for each file, one read for each Aria table. Database directories may be symbolic links.

    `tablespaces` are files to count in any case: the system tablespace may lie elsewhere. Raises InstanceError
    (`datadir_unreadable`) naming the first directory or file that this user may not read.
    """
    top = list(entries_of(datadir))
    counted = {entry.path: _size(entry) for entry in top if entry.name.startswith(_TOP_LEVEL) and entry.is_file()}
    for path in tablespaces:
        counted.setdefault(str(path), _size_of(path))
    locked, total = 0, sum(counted.values())
    for entry in top:
        if not entry.name.startswith(_NOT_DATABASES) and entry.is_dir():
            database = _measure_database(Path(entry.path))
            locked += database.nontransactional
            total += database.total
    return Sizes(locked, total)


def _measure_database(directory: Path) -> Sizes:
    locked = total = 0
    aria: dict[str, int] = {}
    for entry in entries_of(directory):
        stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - a Path for each of 100,000 files costs seconds
        if stem.startswith(_TEMPORARY):
            continue
        size = _size(entry)
        total += size
        if suffix in _LOCKED_SUFFIXES:
            locked += size
        elif suffix in _ARIA_SUFFIXES:
            aria[stem] = aria.get(stem, 0) + size
    locked += sum(size for stem, size in aria.items() if not _online(directory / f"{stem}.MAI"))
    return Sizes(locked, total)


def _size(entry: os.DirEntry[str]) -> int:
    """Of what a symbolic link points to (DATA DIRECTORY of MyISAM), like the server sees it."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # dropped since it was listed
        return 0
    except OSError as error:
        raise unreadable(Path(entry.path), error) from error


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _online(index_file: Path) -> bool:
    try:
        with index_file.open("rb") as file:
            return is_copied_online(file)
    except FileNotFoundError:  # dropped since it was listed
        return True
    except OSError as error:
        raise unreadable(index_file, error) from error

"""Which tables are not transactional, from the files of the data directory. Looks only at the tables it is asked for.

The database user sees no tables in information_schema; and the files are right even while an ALTER runs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from backup_agent.instance.access import unreadable
from backup_agent.instance.aria import is_copied_online
from backup_agent.instance.statements import TableName

_ENGINES = {".MYI": "MyISAM", ".MAI": "Aria", ".CSV": "CSV", ".ARZ": "ARCHIVE", ".MRG": "MERGE"}
_DEVICE = "@@@"
"""MariaDB appends it to the names that Windows keeps for devices: `con`, `nul`."""
_PARTITIONED = ".par"
_NO_SUCH_TABLE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
"""Dropped while we looked, or a name that only a failing statement can have."""


def nontransactional(datadir: Path, tables: Iterable[TableName], file_names: Mapping[str, str]) -> dict[TableName, str]:
    """Those of `tables` whose writers hold up a backup, with their engine's name.

    `file_names` gives the file name of each database and table; tables that it lacks are taken for transactional.
    Raises InstanceError (`datadir_unreadable`).
    """
    found: dict[TableName, str] = {}
    for table in tables:
        if table.database in file_names and table.table in file_names:
            database = datadir / file_names[table.database]
            try:
                engine = _engine(database, file_names[table.table])
            except OSError as error:
                if error.errno in _NO_SUCH_TABLE:
                    continue
                raise unreadable(Path(error.filename or database), error) from error
            if engine is not None:
                found[table] = engine
    return found


def _engine(database: Path, stem: str) -> str | None:
    for name in (stem, f"{stem}{_DEVICE}"):
        for suffix, engine in _ENGINES.items():
            if _is_locked(database / f"{name}{suffix}"):
                return engine
        if (database / f"{name}{_PARTITIONED}").exists():
            return next((engine for part, engine in _partitions(database, name) if _is_locked(part)), None)
    return None


def _partitions(database: Path, name: str) -> Iterator[tuple[Path, str]]:
    for file in os.listdir(database):  # noqa: PTH208 - a Path for each of 100,000 files costs seconds
        if file.startswith(f"{name}#P#") and file[-4:] in _ENGINES:
            yield database / file, _ENGINES[file[-4:]]


def _is_locked(path: Path) -> bool:
    """Whether it is a file of a table that mariadb-backup locks."""
    if not path.exists():
        return False
    if path.suffix != ".MAI":
        return True
    with path.open("rb") as file:
        return not is_copied_online(file)

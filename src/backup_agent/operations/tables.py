"""Whether the tables of a stream are those of the server; what is odd on the server itself is left as it is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from backup_agent.domain.manifest import File
from backup_agent.errors import ErrorCode, TakeAgainError
from backup_agent.instance import aria, myisam
from backup_agent.instance.table_files import TableFile
from backup_agent.stream.mbstream_tree import Head
from backup_agent.stream.tables import DATA, Doubt, split_path

log = structlog.get_logger(__name__)

_SHOWN = 3
_SHRINK = frozenset({"MYD", "MAD", "CSV", "ARZ"})
_ARIA_INDEX = "MAI"
_STATED_SIZES = {"MYI": myisam.stated_size, "MAI": aria.stated_size}
_OPEN = {"MYI": myisam.is_open, "MAI": aria.is_open}
_LOGGED = (".MAD", ".MAI")
_LOCKED = frozenset({"MYD", "MYI", "MAD", "MAI", "CSV", "ARZ"})
_COPIED_LAST = frozenset(
    f"mysql/{name}" for name in ("general_log", "slow_log", "column_stats", "index_stats", "table_stats")
)
"""The server writes these until the last lock, under which the engine copies them."""
_OPEN_FOR = 1_000_000_000
"""Nanoseconds before the lock: a table open at the lock and not written since then was only read."""

TableFiles = Mapping[str, TableFile]


@dataclass(frozen=True, slots=True)
class Locked:
    """How the engine found the tables outside of InnoDB when it locked their writers out."""

    at: int
    """Nanoseconds since the epoch."""
    in_use: frozenset[str]
    """The tables that it copies later, when no statement is at work any more; named as `Doubt.table`."""


def check_tables(doubts: Sequence[Doubt], datadir: Path, parent_begun: datetime | None = None) -> None:
    """Raises TakeAgainError (`ddl_during_backup`) for doubts that the server's own files do not explain.

    `parent_begun` is for an incremental: when its parent was begun. A table that lacks a file on the server too, or a
    file that belongs to no table there, is logged and backed up as it is.
    """
    grave: list[Doubt] = []
    for doubt in doubts:
        if doubt.unless_settled and _had_its_name(datadir / f"{doubt.table}.frm", parent_begun):
            continue
        if doubt.by_ddl or not _is_so_at_source(doubt, datadir):
            grave.append(doubt)
        else:
            log.warning("table is not whole on the server", table=doubt.table, reason=doubt.why)
    if grave:
        shown = "; ".join(f"{doubt.table}: {doubt.why}" for doubt in grave[:_SHOWN])
        more = f"; and {len(grave) - _SHOWN} more" if len(grave) > _SHOWN else ""
        raise TakeAgainError(
            ErrorCode.DDL_DURING_BACKUP,
            f"DDL or writes met the backup, and its copies may not be the tables of the server: {shown}{more}",
            "Take the backup while no MyISAM, Aria, CSV or ARCHIVE tables are created, altered, renamed or dropped, or "
            "written by several at a time.",
        )


def changes(files: Sequence[File], heads: Mapping[str, Head], now: TableFiles) -> list[Doubt]:
    """The tables that were emptied or rebuilt after they were copied; `now` is a look at the server's files when that
    could not be done any more.

    The engine notices neither TRUNCATE nor OPTIMIZE of a table that it has copied (seen with 10.11.19): its rows would
    not be those of the binary log position, or Aria's log would not fit its files and make the prepare fail.
    """
    found = {}
    for file in files:
        if (there := now.get(file.path)) is None:
            continue
        table, _, extension = split_path(file.path)
        if extension in _SHRINK and there.size < file.size and table not in _COPIED_LAST:
            found[table] = Doubt(table, f"{file.path} has shrunk since it was copied", by_ddl=True)
        elif extension == _ARIA_INDEX and there.rebuilt_at != aria.rebuilt_at(heads[file.path].start):
            found[table] = Doubt(table, "it was rebuilt after it was copied", by_ddl=True)
    return list(found.values())


def torn(files: Sequence[File], heads: Mapping[str, Head], before: TableFiles, after: TableFiles) -> list[Doubt]:
    """The tables that were copied while a statement wrote them: the index does not know the size of the data.

    A table that nobody wrote between two looks at the server's files is as it is there.
    """
    sizes = {file.path: file.size for file in files}
    found = []
    for path in sizes:
        table, _, extension = split_path(path)
        if (stated_size := _STATED_SIZES.get(extension)) is None:
            continue
        data = f"{path[:-1]}D"
        stated = stated_size(heads[path].start)
        at_rest = all(before.get(name) == after.get(name) for name in (path, data))
        if stated is not None and stated != sizes.get(data) and not at_rest:
            found.append(Doubt(table, f"{data} was copied while it was written", by_ddl=True))
    return found


def written(files: Sequence[File], heads: Mapping[str, Head], settled: TableFiles, locked: Locked) -> list[Doubt]:
    """The tables that were written after they were copied, or meanwhile; `settled` is a look at the server's files
    while nobody could write them.

    The engine copies a table early, when its writers are locked out, unless it finds a statement at work on it. It does
    not find those that are at work on a table while another one waits for it (10.11.19 asks for `In_use = 1`), nor any
    on tables that its database user has no SELECT on, and copies amid their writes. A table that was not closed at the
    lock had such a statement; the time of the last change tells the rest.
    """
    found = {}
    for file in files:
        table, _, extension = split_path(file.path)
        there = settled.get(file.path)
        copied_later = table in locked.in_use or table in _COPIED_LAST
        if there is None or copied_later or extension not in _LOCKED or _is_logged(file.path, heads):
            continue
        was_open = extension in _OPEN and _OPEN[extension](heads[file.path].start)
        if there.modified > (locked.at - _OPEN_FOR if was_open else locked.at):
            found[table] = Doubt(table, f"{file.path} was written after its copy was begun", by_ddl=True)
    return list(found.values())


def _is_logged(path: str, heads: Mapping[str, Head]) -> bool:
    """Whether it is a file of an Aria table whose log makes up for what was copied too early."""
    if not path.endswith(_LOGGED):
        return False
    index = heads.get(f"{path[:-1]}I")
    return index is not None and aria.stated_size(index.start) is None


def _is_so_at_source(doubt: Doubt, datadir: Path) -> bool:
    """The same definition with the same files now means that no DDL came between."""
    directory = (datadir / doubt.table).parent
    try:
        here = {path.name for path in directory.iterdir() if _is_data_of(doubt.table, path.relative_to(datadir))}
        return here == doubt.files and _checksum(datadir / f"{doubt.table}.frm") == doubt.definition
    except OSError:
        return False  # it has changed since, or can't be read: then the stream is not to be trusted


def _had_its_name(definition: Path, at: datetime | None) -> bool:
    """A definition's inode changes when it is made or renamed."""
    try:
        return at is not None and definition.stat().st_ctime < at.timestamp()
    except OSError:
        return False


def _checksum(definition: Path) -> int | None:
    try:
        return zlib.crc32(definition.read_bytes())
    except FileNotFoundError:
        return None


def _is_data_of(table: str, path: Path) -> bool:
    owner, _, extension = split_path(str(path))
    return owner == table and extension in DATA

"""Do the files of a stream make the tables that the server had at its end?

mariadb-backup lets DDL on MyISAM, Aria, CSV and ARCHIVE tables go on while it copies, and at the end repeats that DDL
on its copies, also where it had met the table only afterwards. Seen with 10.11.19, each time with `completed OK!`: two
tables whose rows are exchanged (renamed before they were copied), tables that are gone (dropped and made anew before),
tables without the files of their rows, InnoDB files copied outside of its log, and Aria files of a former table, on
which the prepare stumbles.

The definitions (.frm) settle what there should be: they are copied while DDL is blocked. What this cannot see is a
table whose files and definition fit each other and yet hold other rows; only renames do that, so each is a doubt.
InnoDB's redo log tells its files apart, and so DDL does not harm them, but for renames during an incremental: the
prepare fails when tables took each other's names (.ren files), and when a table that the parent has was renamed before
the engine had opened it (.new files). Tables that were made since the parent come as .new files as well, and so do
those of the parent that kept their names, if the server has written no checkpoint since they were made: without harm.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backup_agent.stream.mbstream_tree import Head, Replay, Replayed

_EXTENSIONS: Final = {
    9: frozenset({"MYD", "MYI"}),
    10: frozenset({"MRG"}),
    16: frozenset({"ARZ"}),
    17: frozenset({"CSV"}),
    42: frozenset({"MAD", "MAI"}),
}
"""Files of a table, or of each of its partitions, by the engine's number in the definition (`legacy_db_type`)."""
DATA: Final = frozenset().union(*_EXTENSIONS.values())
_WITHOUT_FILES: Final = frozenset({6, 12, 18, 19})
"""MEMORY, InnoDB, FEDERATED and BLACKHOLE have none of these."""
_PARTITIONED: Final = 20
_ARCHIVE: Final = "ARZ"
"""An ARCHIVE table needs no .frm: its definition is in this file too."""

_TABLE_MAGIC: Final = b"\xfe\x01"
"""Views have .frm files as well, which are texts."""
_ENGINE_AT: Final = 3
_PARTITION_ENGINE_AT: Final = 61
_PARTITIONS_AT: Final = slice(8, 12)
"""In the .par file: the number of partitions, subpartitions counted, little-endian."""
_PARTITION_MARK: Final = re.compile("#[Pp]#")
_TEMPORARY: Final = "#sql"
_TABLESPACE_ID: Final = slice(34, 38)
"""In the first page of an InnoDB file, big-endian; the page is empty when it was not written yet."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a table may not be in the stream as the server had it."""

    table: str
    """Its path below the data directory without an extension, as the server encodes names in files: `shop/orders`."""
    why: str
    by_ddl: bool
    """Only DDL does that. Otherwise the server's own table may be like this: a file too many, or one missing."""
    files: frozenset[str] = frozenset()
    """Its files of the engines in question that the stream holds: names without the directory."""
    definition: int | None = None
    """CRC-32 of its .frm, None when the stream holds none."""
    unless_settled: bool = False
    """There is none if the table has had its name since before the parent was begun."""


def split_path(path: str) -> tuple[str, str, str]:
    """`shop/orders#P#p0.MYD` as (`shop/orders`, `p0`, `MYD`); without partitions the second is empty."""
    directory, slash, name = path.rpartition("/")
    stem, _, extension = name.partition(".")
    table, *partition = _PARTITION_MARK.split(stem, maxsplit=1)
    return directory + slash + table, partition[0] if partition else "", extension


def doubts(
    paths: Iterable[str], heads: Mapping[str, Head], replayed: Sequence[Replayed], newest_tablespace: int | None
) -> list[Doubt]:
    """`paths` are all files the stream extracts to; `heads` and `replayed` are the parser's. Empty when all is well.

    `newest_tablespace` is for an incremental: the largest id of a tablespace that its parent holds; None for a full.
    At most one doubt for a table is by DDL, and at most one is not.
    """
    kept = {path for path in paths if "/" in path and not path.rpartition("/")[2].startswith(_TEMPORARY)}
    replays = {doubt.table: doubt for change in replayed if (doubt := _doubt_replay(change, kept)) is not None}
    if newest_tablespace is not None:
        replays.update({doubt.table: doubt for doubt in _doubt_innodb(kept, heads, newest_tablespace)})
    return [*replays.values(), *_doubt_files(kept, heads)]


def _doubt_files(kept: set[str], heads: Mapping[str, Head]) -> Iterator[Doubt]:
    data: dict[str, set[tuple[str, str]]] = defaultdict(set)
    names: dict[str, set[str]] = defaultdict(set)
    for path in sorted(kept):
        table, partition, extension = split_path(path)
        if extension in DATA:
            data[table].add((partition, extension))
            names[table].add(path.rpartition("/")[2])
        elif extension == "frm":
            data.setdefault(table, set())
    for table, files in data.items():
        definition = heads.get(f"{table}.frm")
        why = _misfit(files, definition, heads.get(f"{table}.par"))
        if why is not None:
            crc = definition.crc if definition else None
            yield Doubt(table, why, by_ddl=False, files=frozenset(names[table]), definition=crc)


def _doubt_innodb(kept: set[str], heads: Mapping[str, Head], newest_tablespace: int) -> Iterator[Doubt]:
    """Renames of InnoDB tables that the prepare of an incremental can't carry out (seen with 10.11.19)."""
    renamed = {path.removesuffix(".ren") for path in kept if path.endswith(".ren")}
    for path in sorted(kept):
        table, partition, extension = split_path(path)
        if extension == "ren" and (name := heads[path].start.decode("utf-8", "replace")) in renamed:
            yield Doubt(table, f"it was renamed to {name}, which was renamed as well", by_ddl=True)
        elif extension == "new" and 0 < int.from_bytes(heads[path].start[_TABLESPACE_ID], "big") <= newest_tablespace:
            yield Doubt(
                table, "it was renamed before the engine had opened it", by_ddl=True, unless_settled=not partition
            )


def _doubt_replay(change: Replayed, kept: set[str]) -> Doubt | None:
    table, _, extension = split_path(change.path)
    match change.replay:
        case Replay.RENAMED:
            return Doubt(table, f"{change.path} is renamed, perhaps for the second time", by_ddl=True)
        case Replay.REMOVED if extension in {"frm", _ARCHIVE} and change.path not in kept:
            return Doubt(table, f"{change.path} is removed after it was copied", by_ddl=True)
        case Replay.REWRITTEN if extension == "ibd":
            return Doubt(table, f"{change.path} is copied outside of InnoDB's log", by_ddl=True)
        case _:
            return None


def _misfit(files: set[tuple[str, str]], definition: Head | None, partitions: Head | None) -> str | None:
    """What is wrong with a table's data `files`, given as (partition, extension); None when they fit."""
    head = definition.start if definition else b""
    if not head.startswith(_TABLE_MAGIC) or len(head) <= _PARTITION_ENGINE_AT:
        return _unexpected({file for file in files if file[1] != _ARCHIVE})
    engine = head[_ENGINE_AT]
    if engine in _WITHOUT_FILES:
        return _unexpected(files)
    if engine == _PARTITIONED:
        return _misfit_of_partitions(files, head[_PARTITION_ENGINE_AT], partitions)
    if engine not in _EXTENSIONS:
        return None
    expected = {("", extension) for extension in _EXTENSIONS[engine]}
    if missing := expected - files:
        return f"it has a definition, but no {_listed(extension for _, extension in missing)} file"
    return _unexpected(files - expected)


def _misfit_of_partitions(files: set[tuple[str, str]], engine: int, partitions: Head | None) -> str | None:
    if engine in _WITHOUT_FILES:
        return _unexpected(files)
    if engine not in _EXTENSIONS:
        return None
    if partitions is None:
        return "it is partitioned, but has no .par file"
    count = int.from_bytes(partitions.start[_PARTITIONS_AT], "little")
    for extension in sorted(_EXTENSIONS[engine]):
        have = sum(1 for partition, kind in files if partition and kind == extension)
        if have != count:
            return f"it has {count} partitions, but {have} {extension} files"
    return _unexpected({file for file in files if not file[0] or file[1] not in _EXTENSIONS[engine]})


def _unexpected(files: set[tuple[str, str]]) -> str | None:
    if not files:
        return None
    return f"it has {_listed(extension for _, extension in files)} files that its definition does not call for"


def _listed(extensions: Iterable[str]) -> str:
    return ", ".join(sorted(set(extensions)))

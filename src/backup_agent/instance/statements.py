"""Which tables a running statement writes or changes, as far as its text tells.

No SQL parser: a look at the words, that never fails. What a stored function, a view or a prepared statement does can't
be seen in the text that calls it; of a procedure, a trigger and EXECUTE the server shows the inner statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from backup_agent.instance.words import Words


class TableName(NamedTuple):
    database: str
    table: str

    def __str__(self) -> str:
        return f"{self.database}.{self.table}" if self.table else self.database


class Holds(Enum):
    """What of the server's backup lock a statement holds while it runs; seen on MariaDB 10.11."""

    WRITES = "DML, when one of its tables is not transactional; nothing while it waits for a metadata lock"
    ALTERS = "the same, and it keeps it while it waits for a metadata lock"
    DDL = "DDL, on tables of any engine; nothing while it waits for a metadata lock"
    WAITING_DDL = "DDL, on tables of any engine, and keeps it while it waits for a metadata lock"


@dataclass(frozen=True, slots=True)
class Effect:
    """`action` as in `writes shop.sessions`."""

    action: str
    holds: Holds
    tables: tuple[TableName, ...]


def read_statement(sql: str, database: str) -> Effect | None:
    """None when nothing in it can make a backup wait. `database` is the session's default, '' when it has none."""
    words = Words(sql)
    _skip_prefixes(words)
    found = _effect(words)
    if found is None:
        return None
    action, holds, names = found
    tables = (TableName(schema or database, table) for schema, table in names)
    return Effect(action, holds, tuple(dict.fromkeys(tables)))


_Names = list[tuple[str, str]]
_Found = tuple[str, Holds, _Names]


def _skip_prefixes(words: Words) -> None:
    while words.accept("("):
        pass
    if words.accept("SET", "STATEMENT"):
        words.skip_past("FOR")
    if words.accept("ANALYZE") and words.accept("FORMAT", "="):
        words.skip()
    if words.accept("WITH"):
        words.skip_to("SELECT", "UPDATE", "DELETE", "INSERT", "REPLACE")


def _effect(words: Words) -> _Found | None:
    read = _READERS.get(words.take())
    return read(words) if read else None


def _inserted(words: Words) -> _Found:
    words.accept_any("LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "IGNORE", "INTO")
    return "writes", Holds.WRITES, words.name()


def _loaded(words: Words) -> _Found:
    words.skip_past("TABLE")
    return "writes", Holds.WRITES, words.name()


def _updated(words: Words) -> _Found:
    """Every table of the join: also of those that it only reads, it holds the lock of a writer."""
    words.accept_any("LOW_PRIORITY", "IGNORE")
    return "writes", Holds.WRITES, [reference.table for reference in words.references()]


def _altered(words: Words) -> _Found | None:
    words.accept_any("ONLINE", "IGNORE")
    return ("alters", Holds.ALTERS, words.names()) if _table_follows(words) else None


def _optimized(words: Words) -> _Found | None:
    words.accept_any("NO_WRITE_TO_BINLOG", "LOCAL")
    return ("optimizes", Holds.WRITES, words.names()) if _table_follows(words) else None


def _repaired(words: Words) -> _Found | None:
    words.accept_any("NO_WRITE_TO_BINLOG", "LOCAL")
    return ("repairs", Holds.WRITES, words.names()) if _table_follows(words) else None


def _truncated(words: Words) -> _Found:
    words.accept("TABLE")
    return "empties", Holds.DDL, words.name()


def _renamed(words: Words) -> _Found | None:
    return ("renames", Holds.DDL, words.names()) if _table_follows(words) else None


def _table_follows(words: Words) -> bool:
    if not (words.accept("TABLE") or words.accept("TABLES")):
        return False
    _skip_existence(words)
    return True


def _skip_existence(words: Words) -> None:
    if words.accept("IF"):
        words.accept_any("NOT", "EXISTS")


def _deleted(words: Words) -> _Found:
    return "writes", Holds.WRITES, _targets(words)


def _targets(words: Words) -> _Names:
    """Of any form: `DELETE FROM t`, `DELETE t, u FROM ...`, `DELETE FROM t, u USING ...`."""
    words.accept_any("LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY")
    if words.accept("FROM"):
        targets = words.names()
        if not words.accept("USING"):
            return targets
    else:
        targets = words.names()
        words.skip_past("FROM")
    references = words.references()
    deleted: _Names = []
    for target in targets:
        meant = [
            reference.table
            for reference in references
            # A target may be named by its alias or by its own name, without its database.
            if target[1] in {reference.alias, reference.table[1]} and target[0] in {"", reference.table[0]}
        ]
        deleted += meant or [target]
    return deleted


def _selected(words: Words) -> _Found | None:
    """FOR UPDATE locks as a write does, LOCK IN SHARE MODE does not."""
    if not words.holds("FOR", "UPDATE"):
        return None
    names: _Names = []
    while words.skip_past("FROM", inside=True):
        names += [reference.table for reference in words.references()]
    return "locks by FOR UPDATE", Holds.WRITES, names


def _created(words: Words) -> _Found | None:
    words.accept("OR", "REPLACE")
    words.accept_any("ONLINE", "OFFLINE", "UNIQUE", "FULLTEXT", "SPATIAL")
    if words.accept("INDEX"):
        return _indexed(words)
    if _table_follows(words):
        return "creates", Holds.DDL, words.name()
    if words.skip_past("TRIGGER", before=("TABLE", "PROCEDURE", "FUNCTION", "EVENT", "VIEW", "TEMPORARY", "PACKAGE")):
        words.skip_past("ON")
        return "makes a trigger on", Holds.WAITING_DDL, words.name()
    return None


def _indexed(words: Words) -> _Found:
    words.skip_past("ON")
    return "alters", Holds.ALTERS, words.name()


def _dropped(words: Words) -> _Found | None:
    if words.accept("DATABASE") or words.accept("SCHEMA"):
        _skip_existence(words)
        return "drops", Holds.WAITING_DDL, [(table, "") for _, table in words.name()]
    if words.accept("INDEX"):
        return _indexed(words)
    return ("drops", Holds.DDL, words.names()) if _table_follows(words) else None


_READERS: dict[str, Callable[[Words], _Found | None]] = {
    "INSERT": _inserted,
    "REPLACE": _inserted,
    "LOAD": _loaded,
    "UPDATE": _updated,
    "DELETE": _deleted,
    "SELECT": _selected,
    "ALTER": _altered,
    "OPTIMIZE": _optimized,
    "REPAIR": _repaired,
    "TRUNCATE": _truncated,
    "RENAME": _renamed,
    "CREATE": _created,
    "DROP": _dropped,
}

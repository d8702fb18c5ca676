"""CHECK TABLE, for every table of a server that nobody else uses.

What it does not do: start that server, or decide what a broken table means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from backup_agent.instance.connection import Endpoint, Session

_WITHOUT_FILES = ("information_schema", "performance_schema")
_UNKNOWN_ENGINE = re.compile(r"Unknown storage engine|Plugin '.*' is not loaded")
_UNCHECKABLE = re.compile(r"doesn't support check")
_OK = frozenset({"OK", "Table is already up to date"})
_WORDS = 500
"""Characters of what the server says of one table."""


@dataclass(frozen=True, slots=True)
class Table:
    """`size` in bytes of data and indexes, as the server knows it; 0 when it does not."""

    database: str
    name: str
    size: int

    @property
    def quoted(self) -> str:
        return ".".join(f"`{part.replace('`', '``')}`" for part in (self.database, self.name))

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """`broken` is what the server finds wrong with a table, None when nothing is; `unchecked` why it can't tell."""

    broken: str | None = None
    unchecked: str | None = None


class TableCheck:
    """One connection to the server behind `socket`, as anybody: to be used where nobody is asked for a password.

    Every call raises InstanceError (`database_unreachable`): also when the server has died meanwhile.
    """

    def __init__(self, socket: Path) -> None:
        self._session = Session(Endpoint(socket, user="root"), answer_within=None)

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.__exit__()

    def server_version(self) -> str:
        return str(self._session.rows("SELECT VERSION()")[0][0])

    def tables(self) -> list[Table]:
        """All but views and sequences, the server's own included, in the order of their names."""
        hidden = ", ".join(f"'{name}'" for name in _WITHOUT_FILES)
        rows = self._session.rows(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)"  # noqa: S608
            f" FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN ({hidden})"
            " AND COALESCE(TABLE_TYPE, '') NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE') ORDER BY 1, 2"
        )
        return [Table(str(database), str(name), int(size)) for database, name, size in rows]

    def check(self, table: Table) -> Finding:
        """Takes as long as it takes to read the table."""
        return judge(self._session.rows(f"CHECK TABLE {table.quoted}"))


def judge(said: Sequence[tuple[Any, ...]]) -> Finding:
    """What the rows of one CHECK TABLE mean: table, operation, kind of message, message."""
    words = "; ".join(dict.fromkeys(str(row[3]) for row in said if row[3] not in _OK))[:_WORDS]
    if any(row[2] == "status" and row[3] in _OK for row in said) and not any(_is_error(row) for row in said):
        return Finding()
    if _UNKNOWN_ENGINE.search(words) or _UNCHECKABLE.search(words):
        return Finding(unchecked=words)
    return Finding(broken=words or "the server does not say that it is in order")


def _is_error(row: tuple[Any, ...]) -> bool:
    return str(row[2]).lower() == "error"

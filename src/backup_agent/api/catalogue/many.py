"""Statements about many rows at once.

PostgreSQL is given lists as arrays. The statement is then the same for each length, and neither it nor its plan is made
anew each time; and rows that all change are one statement, not one each. Both cost as much as all else that is done
with a batch of events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    String,
    Table,
    any_,
    bindparam,
    column,
    func,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

S = TypeVar("S", bound=Executable)
Among = Callable[[ColumnElement[str]], ColumnElement[bool]]
"""The condition that a column is one of the parameter `ids`."""


class ForMany(Generic[S]):
    def __init__(self, build: Callable[[Among], S]) -> None:
        self._in = build(lambda which: which.in_(bindparam("ids", expanding=True)))
        self._any = build(lambda which: which == any_(bindparam("ids", type_=ARRAY(String))))

    def on(self, connection: Connection) -> S:
        """To be executed there, with a list `ids`."""
        return self._any if _takes_arrays(connection) else self._in


class UpdateOfMany:
    """Each row, found by its id, gets values of its own in the columns `names`."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._names = ("id", *names)
        values: dict[str, BindParameter[object]] = {name: bindparam(f"new_{name}") for name in names}
        self._each = update(table).where(table.c.id == bindparam("new_id")).values(values)
        kinds = {name: table.c[name].type for name in self._names}
        arrays = (bindparam(f"new_{name}", type_=ARRAY(kind)) for name, kind in kinds.items())
        parts = (column(name, kind) for name, kind in kinds.items())
        new = func.unnest(*arrays).table_valued(*parts, name="new").render_derived()
        self._all = update(table).where(table.c.id == new.c.id).values({name: new.c[name] for name in names})

    def execute(self, connection: Connection, rows: Sequence[object]) -> None:
        """`rows` have the values as attributes."""
        if _takes_arrays(connection):
            connection.execute(self._all, {f"new_{name}": [getattr(row, name) for row in rows] for name in self._names})
        else:
            connection.execute(
                self._each, [{f"new_{name}": getattr(row, name) for name in self._names} for row in rows]
            )


def _takes_arrays(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"

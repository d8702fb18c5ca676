"""How many backups an account may have.

An account's old backups are counted every now and then, its new ones each time: to count 50,000 takes a database so
long that all who ask for backups of the account would wait for it. In between, old ones that are deleted still count
until the quota seems reached, when all are counted anew; and what agents tell late of old ones counts a little later.
Nothing that is asked for is admitted beyond: that is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, func, select

from backup_agent.api.catalogue.tables import backups

_OLD = timedelta(seconds=30)
"""Longer than a request may wait for its turn, and than clocks of hosts differ: no old backup is asked for any more."""
_KEPT = timedelta(seconds=30)
_FEW = 1000
"""So many are counted each time."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """`count` were created up to `until`."""

    count: int
    until: datetime


class Quota:
    """For the holder of the account's lock. Each process has its own; safe from any thread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: dict[str, _Counted] = {}

    def is_reached(self, connection: Connection, account_id: str, now: datetime) -> bool:
        known = self._known.get(account_id)
        if known is not None and known.until + _OLD + _KEPT > now and self._fits(connection, account_id, known):
            return False
        until = now - _OLD
        counted = _Counted(self._count(connection, _OLD_ONES, account_id, until), until)
        if counted.count > _FEW:
            self._known[account_id] = counted
        else:
            self._known.pop(account_id, None)
        return not self._fits(connection, account_id, counted)

    def _fits(self, connection: Connection, account_id: str, old: _Counted) -> bool:
        """One more."""
        return old.count < self.limit and (
            old.count + self._count(connection, _NEW_ONES, account_id, old.until) < self.limit
        )

    def _count(self, connection: Connection, which: Select[Any], account_id: str, until: datetime) -> int:
        """Not further than to the limit: that is far enough."""
        given = {"account_id": account_id, "until": until, "most": self.limit}
        return int(connection.execute(which, given).scalar_one())


def _counting(when: ColumnElement[bool]) -> Select[Any]:
    some = select(backups.c.id).where(backups.c.account_id == bindparam("account_id"), when)
    return select(func.count()).select_from(some.limit(bindparam("most", type_=Integer)).subquery())


_OLD_ONES = _counting(backups.c.created <= bindparam("until"))
_NEW_ONES = _counting(backups.c.created > bindparam("until"))

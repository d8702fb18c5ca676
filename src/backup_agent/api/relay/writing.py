"""Writes backups as a batch of events has made them. Decides nothing but who has his instance's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from sqlalchemy import Connection, insert, select

from backup_agent.api.catalogue.many import ForMany, UpdateOfMany
from backup_agent.api.catalogue.tables import backups
from backup_agent.api.catalogue.values import ACTIVE, BACKUP_COLUMNS, Backup, columns_of

_PASSING = ("sequence", "told", "heard", "updated", "phase", "progress")
"""What progress changes, and most events are progress: to write nothing else saves a third of the relay's work."""
_LASTING = tuple(name for name in BACKUP_COLUMNS if name != "id" and name not in _PASSING)
_lasting = attrgetter(*_LASTING)


_UPDATE_PASSING = UpdateOfMany(backups, _PASSING)
_UPDATE_ALL = UpdateOfMany(backups, (*_PASSING, *_LASTING))
_INSERT = insert(backups)
_PLACES = ForMany(lambda among: select(backups.c.active_instance, backups.c.id).where(among(backups.c.active_instance)))


def write(connection: Connection, before: Mapping[str, Backup], changed: Sequence[Backup]) -> None:
    """`before` are the rows that were there, by id."""
    settled = _with_places(connection, changed)
    ended = [backup for backup in settled if backup.active_instance is None]
    active = [backup for backup in settled if backup.active_instance is not None]
    for rows in (ended, active):  # a place must be given up before another takes it
        _update(connection, [(before[backup.id], backup) for backup in rows if backup.id in before])
        _insert(connection, [backup for backup in rows if backup.id not in before])


def _with_places(connection: Connection, changed: Sequence[Backup]) -> Sequence[Backup]:
    """The agent's truth is written in any case: a second active backup of an instance goes without the place."""
    wanting = {backup.instance_id for backup in changed if backup.status in ACTIVE}
    taken: dict[str | None, str] = {}
    if wanting:
        rows = connection.execute(_PLACES.on(connection), {"ids": sorted(wanting)})
        taken = {row.active_instance: row.id for row in rows}
    for backup in changed:
        if backup.status not in ACTIVE and taken.get(backup.instance_id) == backup.id:
            del taken[backup.instance_id]
    settled: list[Backup] = []
    for backup in changed:
        place: str | None = None
        if backup.status in ACTIVE and taken.setdefault(backup.instance_id, backup.id) == backup.id:
            place = backup.instance_id
        settled.append(backup if backup.active_instance == place else replace(backup, active_instance=place))
    return settled


def _update(connection: Connection, rows: Sequence[tuple[Backup, Backup]]) -> None:
    """`rows` as they were and as they are to be."""
    passing = [after for before, after in rows if _lasting(before) == _lasting(after)]
    lasting = [after for before, after in rows if _lasting(before) != _lasting(after)]
    for statement, which in ((_UPDATE_PASSING, passing), (_UPDATE_ALL, lasting)):
        if which:
            statement.execute(connection, which)


def _insert(connection: Connection, rows: Sequence[Backup]) -> None:
    if rows:
        connection.execute(_INSERT, [columns_of(row) for row in rows])

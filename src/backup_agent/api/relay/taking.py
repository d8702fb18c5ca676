"""Takes a batch of events over: into the catalogue in one transaction, after which they may be acknowledged.

Rows are read once, changed in memory event by event, and written once, however many events of a backup there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, select

from backup_agent.api import commands
from backup_agent.api.catalogue import outbox
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.deleting import bury
from backup_agent.api.catalogue.many import ForMany
from backup_agent.api.catalogue.reading import ALL_OF_BACKUP
from backup_agent.api.catalogue.tables import backups, instances, tombstones
from backup_agent.api.catalogue.values import ACTIVE, BACKUP_COLUMNS, Backup, backup_of
from backup_agent.api.relay import agents
from backup_agent.api.relay.hearing import REJECTED, RESTORED, VERIFIED, AgentTold, BackupTold, Heard
from backup_agent.api.relay.judging import Verdict, changes, datastore_columns, error_columns, is_gone, judge
from backup_agent.api.relay.writing import write
from backup_agent.domain.state import State
from backup_agent.errors import ErrorCode

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Outcome:
    """How many events came to what."""

    applied: int = 0
    stale: int = 0
    refused: int = 0
    """Of another instance, or what no backup can become."""
    unregistered: int = 0
    """Of an instance that nobody has registered, or of one that was removed."""
    heartbeats: int = 0


@dataclass(slots=True)
class _Batch:
    """`known` are the rows as they are and become; `before` as they were found."""

    now: datetime
    before: dict[str, Backup]
    known: dict[str, Backup]
    accounts: dict[str, str]
    """Of registered instances."""
    heard: dict[str, datetime | None]
    """When anything was heard of these before."""
    buried: dict[str, str]
    """Deleted backups among them, and their instances."""
    unwanted: dict[str, str] = field(default_factory=dict)
    """Deleted backups that an agent has nevertheless: to be deleted there."""
    outcome: Outcome = field(default_factory=Outcome)


def take(database: Database, events: Sequence[Heard], now: datetime, *, lax: timedelta = timedelta()) -> Outcome:
    """Taken twice, it changes nothing the second time. That an instance was heard of is written when that was not known
    for so long as `lax`. Raises CatalogueError.
    """
    told = [(heard, heard.data) for heard in events if isinstance(heard.data, BackupTold)]
    beats = {
        heard.data.instance_id: agents.Beat(heard.time, heard.data)
        for heard in events
        if isinstance(heard.data, AgentTold)
    }

    def work(connection: Connection) -> Outcome:
        batch = _read(connection, [data for _, data in told], now)
        for heard, data in told:
            _apply(batch, heard, data)
        _write(connection, batch)
        batch.outcome.heartbeats = len(events) - len(told)
        agents.hear(connection, beats, _unheard(batch, now - lax), now)
        return batch.outcome

    return database.write(work, again_if_not_unique=True)


def _read(connection: Connection, told: Sequence[BackupTold], now: datetime) -> _Batch:
    ids = sorted({data.id for data in told})
    if not ids:
        return _Batch(now, {}, {}, {}, {}, {})
    found = {row.id: backup_of(row) for row in connection.execute(_BACKUPS.on(connection), {"ids": ids}).all()}
    gone: dict[str, str] = {}
    missing = [backup_id for backup_id in ids if backup_id not in found]
    if missing:
        gone = {row.id: row.instance_id for row in connection.execute(_BURIED.on(connection), {"ids": missing})}
    registered = connection.execute(
        _REGISTERED.on(connection), {"ids": sorted({data.instance_id for data in told})}
    ).all()
    accounts = {row.id: row.account_id for row in registered}
    return _Batch(now, found, dict(found), accounts, {row.id: row.heard for row in registered}, gone)


_BACKUPS = ForMany(
    lambda among: select(*ALL_OF_BACKUP).where(among(backups.c.id)).order_by(backups.c.id).with_for_update()
)
_BURIED = ForMany(lambda among: select(tombstones.c.id, tombstones.c.instance_id).where(among(tombstones.c.id)))
_REGISTERED = ForMany(
    lambda among: select(instances.c.id, instances.c.account_id, instances.c.heard).where(
        among(instances.c.id), instances.c.removed.is_(None)
    )
)


def _apply(batch: _Batch, heard: Heard, told: BackupTold) -> None:
    if told.id in batch.buried:
        _of_deleted(batch, told)
        return
    backup = batch.known.get(told.id)
    if backup is None:
        _of_unknown(batch, heard, told)
        return
    verdict = judge(backup, heard, told)
    match verdict:
        case Verdict.APPLIES if is_gone(heard, told):
            del batch.known[told.id]
            batch.buried[told.id] = told.instance_id
            batch.outcome.applied += 1
        case Verdict.APPLIES:
            batch.known[told.id] = replace(backup, **changes(backup, heard, told, batch.now))
            batch.outcome.applied += 1
        case Verdict.STALE:
            batch.outcome.stale += 1
        case Verdict.FOREIGN | Verdict.IMPOSSIBLE:
            batch.outcome.refused += 1
            log.warning(
                "an event was refused",
                why=verdict.name.lower(),
                type=heard.type,
                backup_id=told.id,
                instance_id=told.instance_id,
                status=backup.status.value,
                told=told.status.value,
            )


def _of_deleted(batch: _Batch, told: BackupTold) -> None:
    batch.outcome.stale += 1
    if told.status is State.COMPLETED and batch.buried[told.id] == told.instance_id:
        batch.unwanted[told.id] = told.instance_id


def _of_unknown(batch: _Batch, heard: Heard, told: BackupTold) -> None:
    """`run-once` and timers make backups that nobody asked the API for."""
    account_id = batch.accounts.get(told.instance_id)
    if account_id is None:
        batch.outcome.unregistered += 1
        return
    made = told.status in (*ACTIVE, State.COMPLETED, State.FAILED) and heard.type not in (VERIFIED, RESTORED)
    if not made or told.name is None or told.created is None:
        batch.outcome.stale += 1
        return
    if heard.type == REJECTED and told.error is not None and told.error.code == ErrorCode.INSTANCE_BUSY:
        batch.outcome.stale += 1  # the one that keeps it busy is there to be seen
        return
    batch.known[told.id] = _new(heard, told, account_id, min(told.created, batch.now), batch.now)
    batch.outcome.applied += 1


def _new(heard: Heard, told: BackupTold, account_id: str, created: datetime, now: datetime) -> Backup:
    return Backup(
        **{column: None for column in BACKUP_COLUMNS if column in _OPTIONAL},  # type: ignore[arg-type]
        **{
            "id": told.id,
            "account_id": account_id,
            "instance_id": told.instance_id,
            "parent_id": told.parent_id,
            "name": told.name,
            "description": told.description,
            "status": told.status,
            "created": created,
            "updated": max(created, min(heard.time, now)),
            "heard": now,
            "sequence": told.sequence,
            "told": heard.time,
            "phase": told.phase,
            "progress": told.percent,
            "size": told.size,
            "location": told.location,
            "checksum": told.checksum,
            **datastore_columns(told),
            **error_columns(told),
        },
    )


_OPTIONAL = ("active_instance", "former_status", "verified")


def _write(connection: Connection, batch: _Batch) -> None:
    gone = [backup for backup_id, backup in batch.before.items() if backup_id not in batch.known]
    if gone:
        bury(connection, gone, batch.now)
    changed = [backup for backup_id, backup in batch.known.items() if batch.before.get(backup_id) is not backup]
    if changed:
        write(connection, batch.before, changed)
    for backup_id, instance_id in batch.unwanted.items():
        account = connection.execute(select(instances.c.account_id).where(instances.c.id == instance_id)).scalar_one()
        outbox.put(connection, instance_id, backup_id, commands.delete_backup(backup_id, account), batch.now)


def _unheard(batch: _Batch, since: datetime) -> set[str]:
    return {instance_id for instance_id, heard in batch.heard.items() if heard is None or heard <= since}

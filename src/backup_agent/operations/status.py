"""What the agent of an instance is doing, from its journal and its lock: also when no agent runs. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_agent.domain.event import EventError
from backup_agent.domain.manifest import BackupType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase
from backup_agent.domain.verification import Verdict
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.instance.process import lives
from backup_agent.journal.interface import Job, View
from backup_agent.journal.tasks import Task
from backup_agent.operations.services import Holder
from backup_agent.report.told import Told, told


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it is read from; `app` puts it together."""

    instance_id: str
    journal: View | None
    """None: nobody has used the agent on this instance yet."""
    holder: Callable[[], Holder | None]


@dataclass(frozen=True, slots=True)
class Running:
    """A backup that somebody carries out, or did when he died."""

    id: str
    name: str
    type: BackupType
    phase: Phase | None
    percent: int | None
    since: datetime
    """When its last attempt began."""
    attempts: int
    process: ProcessId
    lives: bool
    """Whether that process does. If not, the next start of the agent decides what becomes of the backup."""
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A backup that nobody carries out yet, or, after an attempt that was interrupted, not yet again."""

    id: str
    name: str
    type: BackupType
    received: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Commanded:
    """Something else that was asked for, such as a deletion, and has not ended."""

    kind: str
    backup_id: str | None
    received: datetime
    attempts: int
    process: ProcessId | None
    """Which carries it out; None while it waits."""
    lives: bool


@dataclass(frozen=True, slots=True)
class Ended:
    id: str
    name: str
    type: BackupType
    at: datetime
    error: EventError | None


@dataclass(frozen=True, slots=True)
class Status:
    instance_id: str
    used: bool
    holder: Holder | None = None
    running: tuple[Running, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    tasks: tuple[Commanded, ...] = ()
    outbox_depth: int = 0
    outbox_oldest: timedelta | None = None
    """For how long its oldest event has waited."""
    last_completed: Ended | None = None
    last_failed: Ended | None = None
    verdicts: tuple[Verdict, ...] = ()
    """The last verification of each level and result, the newest first."""


def status(sources: Sources, now: datetime) -> Status:
    """Raises JournalError when there is a journal that can't be read."""
    if sources.journal is None:
        return Status(sources.instance_id, used=False, holder=sources.holder())
    snapshot = sources.journal.snapshot()
    oldest = snapshot.outbox_oldest
    return Status(
        sources.instance_id,
        used=True,
        holder=sources.holder(),
        running=tuple(_running(job, job.owner) for job in snapshot.active if job.owner is not None),
        waiting=tuple(_waiting(job) for job in snapshot.active if job.owner is None),
        tasks=tuple(map(_commanded, snapshot.tasks)),
        outbox_depth=snapshot.outbox_depth,
        outbox_oldest=None if oldest is None else max(now - oldest, timedelta()),
        last_completed=_ended(snapshot.last_completed),
        last_failed=_ended(snapshot.last_failed),
        verdicts=tuple(sorted(snapshot.verdicts, key=lambda one: one.time, reverse=True)),
    )


def _running(job: Job, owner: ProcessId) -> Running:
    return Running(
        id=job.id,
        name=job.command.backup.name,
        type=_type(job),
        phase=job.phase,
        percent=_told(job, job.progress).percent if job.progress is not None else None,
        since=job.begun or job.received,
        attempts=job.attempts,
        process=owner,
        lives=lives(owner),
        cancelled=job.cancelled,
    )


def _waiting(job: Job) -> Waiting:
    return Waiting(job.id, job.command.backup.name, _type(job), job.received, job.expires)


def _commanded(task: Task) -> Commanded:
    return Commanded(
        task.kind,
        task.backup_id,
        task.received,
        task.attempts,
        task.owner,
        lives=task.owner is not None and lives(task.owner),
    )


def _ended(job: Job | None) -> Ended | None:
    if job is None:
        return None
    error = _told(job, job.last_event).error if job.last_event is not None else None
    return Ended(job.id, job.command.backup.name, _type(job), job.updated, error)


def _type(job: Job) -> BackupType:
    request = job.command.backup
    return BackupType.INCREMENTAL if request.incremental or request.parent_id else BackupType.FULL


def _told(job: Job, body: bytes) -> Told:
    try:
        return told(body)
    except ValueError as error:
        raise JournalError(
            ErrorCode.JOURNAL_CORRUPT,
            f"the journal's last event of backup {job.id} can't be read: {error}",
            "Look at the backups themselves with `backup-agent list`; please report it.",
        ) from error

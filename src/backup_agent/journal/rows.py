"""Jobs and tasks as rows of a table, and back. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from backup_agent.domain.command import CreateBackup
from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase, State
from backup_agent.domain.verification import Level, Outcome, Verdict
from backup_agent.journal.interface import Job, NewJob, Origin, Outgoing
from backup_agent.journal.tasks import NewTask, Task, TaskState

Row = Sequence[Any]

JOB = (
    "command, origin, received, expires, owner_pid, owner_started, engine_pid, engine_started, state, phase, attempts, "
    "sequence, cancelled, last_event, updated, begun, progress"
)
"""The columns `job` takes."""
TASK = (
    "id, kind, backup_id, command, origin, received, expires, beside, owner_pid, owner_started, state, attempts, "
    "notes, updated"
)
"""The columns `task` takes."""
VERDICT = "level, result, backup_id, time, seconds_to_serve"
"""The columns `verdict` takes."""
OUTGOING = "id, backup_id, type, routing_key, body"
"""The columns `outgoing` takes."""


def job(row: Row) -> Job:
    """Raises ValueError or TypeError when the row is not what was written."""
    (
        command, origin, received, expires, owner_pid, owner_started, engine_pid, engine_started, state, phase,
        attempts, sequence, cancelled, last_event, updated, begun, progress,
    ) = row  # fmt: skip
    return Job(
        command=CreateBackup.model_validate_json(command),
        origin=Origin(origin),
        received=moment(received),
        expires=_moment(expires),
        owner=_process(owner_pid, owner_started),
        engine=_process(engine_pid, engine_started),
        state=State(state),
        phase=None if phase is None else Phase(phase),
        attempts=attempts,
        sequence=sequence,
        cancelled=bool(cancelled),
        last_event=last_event,
        updated=moment(updated),
        begun=_moment(begun),
        progress=progress,
    )


def task(row: Row) -> Task:
    """Raises ValueError or TypeError when the row is not what was written."""
    (
        task_id, kind, backup_id, command, origin, received, expires, beside, owner_pid, owner_started, state,
        attempts, notes, updated,
    ) = row  # fmt: skip
    return Task(
        id=task_id,
        kind=kind,
        backup_id=backup_id,
        command=command,
        origin=Origin(origin),
        received=moment(received),
        expires=_moment(expires),
        beside=tuple((beside or "").split()),
        owner=_process(owner_pid, owner_started),
        state=TaskState(state),
        attempts=attempts,
        notes=notes,
        updated=moment(updated),
    )


def of_new_task(task: NewTask, now: str) -> dict[str, Any]:
    """The columns of a task that begins, by name."""
    owner = task.owner
    return {
        "id": task.id,
        "kind": task.kind,
        "backup_id": task.backup_id,
        "command": task.command,
        "origin": task.origin.value,
        "received": text(task.received),
        "expires": None if task.expires is None else text(task.expires),
        "beside": " ".join(task.beside),
        "owner_pid": owner.pid if owner else None,
        "owner_started": owner.started if owner else None,
        "state": (TaskState.RUNNING if owner else TaskState.WAITING).value,
        "attempts": 1 if owner else 0,
        "updated": now,
    }


def outgoing(row: Row) -> Outgoing:
    """Raises ValueError when the row is not what was written."""
    number, backup_id, kind, routing_key, body = row
    return Outgoing(number, backup_id, EventType(kind), routing_key, body)


def verdict(row: Row) -> Verdict:
    """Raises ValueError or TypeError when the row is not what was written."""
    level, result, backup_id, time, seconds_to_serve = row
    return Verdict(Level(level), Outcome(result), backup_id, moment(time), seconds_to_serve)


def of_verdict(verdict: Verdict) -> dict[str, Any]:
    """Its columns, by name."""
    return {
        "level": verdict.level.value,
        "result": verdict.result.value,
        "backup_id": verdict.backup_id,
        "time": text(verdict.time),
        "seconds_to_serve": verdict.seconds_to_serve,
    }


def of_new(job: NewJob, now: str) -> dict[str, Any]:
    """The columns of a job that begins, by name."""
    owner = job.owner
    return {
        "id": job.command.backup.id,
        "command": job.command.model_dump_json(),
        "origin": job.origin.value,
        "received": text(job.received),
        "expires": None if job.expires is None else text(job.expires),
        "owner_pid": owner.pid if owner else None,
        "owner_started": owner.started if owner else None,
        "state": State.NEW.value,
        "attempts": 1 if owner else 0,
        "begun": now if owner else None,
        "updated": now,
    }


def text(moment: datetime) -> str:
    """In UTC and of one length, so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else moment(text)


def _process(pid: int | None, started: str | None) -> ProcessId | None:
    return None if pid is None or started is None else ProcessId(pid=pid, started=started)

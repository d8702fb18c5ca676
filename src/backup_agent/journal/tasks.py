"""Tasks: commands other than `backup.create`, as the journal remembers them. Values and contracts only.

A task is what somebody asked for about a backup that is there (or about the instance): it waits, is carried out, and
has ended. All of them are idempotent: what a crash has interrupted is begun again. A backup that is made is a Job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import State
from backup_agent.journal.interface import EventRecord, Origin


class TaskState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Also what was refused."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """Something that was asked for. `owner` is the process that carries it out, None while it waits for one."""

    id: str
    """By which the same command is known again: of a message, its source and its id."""
    kind: str
    """The type of the command, such as `backup.delete`."""
    backup_id: str | None
    """The backup it is about."""
    command: str
    """JSON; what is in it, the kind says."""
    origin: Origin
    received: datetime
    expires: datetime | None = None
    beside: tuple[str, ...] = ()
    """The backups that somebody was at work on when it came."""
    owner: ProcessId | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the journal knows it."""

    id: str
    kind: str
    backup_id: str | None
    command: str
    origin: Origin
    received: datetime
    expires: datetime | None
    beside: tuple[str, ...]
    """Those that somebody was at work on when it came, or while it waited."""
    owner: ProcessId | None
    """The process that carries it out; None while it waits for one, and when it has ended."""
    state: TaskState
    attempts: int
    """How often a process began with it; attempts that ended in good order, to be gone on with later, left out."""
    notes: str | None
    """What was noted for whoever has to go on with it."""
    updated: datetime


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """An event, ready to be told, for the one who asked: it says nothing of a backup, and has no number."""

    request_id: str
    """By which he knows what he asked for."""
    type: EventType
    routing_key: str
    body: bytes


class Tasks(Protocol):
    """The tasks, within a transaction. All but `find`, `open` and `add` raise ValueError for an unknown one."""

    def find(self, task_id: str) -> Task | None: ...

    def open(self) -> Sequence[Task]:
        """Those that have not ended, the oldest first."""
        ...

    def add(self, task: NewTask) -> None:
        """RUNNING and at its first attempt when it has an owner, WAITING otherwise. Raises ValueError for an id there
        is.
        """
        ...

    def begin(self, task_id: str, owner: ProcessId) -> None:
        """`owner` carries it out from now on: one attempt more. Its notes stay."""
        ...

    def release(self, task_id: str, *, counts: bool, beside: str | None = None) -> None:
        """It waits again, for the end of the work on the backup `beside`, if that is known. The attempt `counts`
        unless it ended in good order.
        """
        ...

    def note(self, task_id: str, notes: str) -> None:
        """In place of what was noted before."""
        ...

    def end(self, task_id: str, event: EventRecord | AnswerRecord | None, *, succeeded: bool) -> None:
        """Ends it, and tells the event, one of a backup as `Told.tell` does; None tells nothing. Its notes are
        forgotten.
        """
        ...

    def replay(self, task_id: str) -> None:
        """Puts the event it ended with into the outbox once more."""
        ...


@dataclass(frozen=True, slots=True)
class LastTold:
    """How far the telling about a backup is."""

    sequence: int
    state: State


class Told(Protocol):
    """What was told of backups that are not being made, whether the journal has their jobs or not."""

    def last(self, backup_id: str) -> LastTold | None:
        """None: this journal has never heard of it, or has forgotten it."""
        ...

    def tell(self, event: EventRecord) -> None:
        """Puts the event into the outbox and notes its state and number, in the job where there is one; and its
        verdict.

        It becomes the job's last event if it changes the job's state. Raises ValueError for a sequence that does not
        rise, and for a job that has not ended.
        """
        ...

"""The journal: every command taken on, how far it is, and the events that have not been told yet.

One file per instance, shared by all processes that work on the instance (the daemon, `run-once`). What a transaction
has committed is on disk (fsync): it survives kill -9 and power loss. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from backup_agent.domain.command import CreateBackup
from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase, State
from backup_agent.domain.verification import Verdict

if TYPE_CHECKING:
    from backup_agent.journal.tasks import Task, Tasks, Told  # which know the records here


class Origin(StrEnum):
    """Who asked for a backup, and so who carries it out."""

    QUEUE = "queue"
    """A message; the daemon carries it out, after a crash also a later one."""
    RUN_ONCE = "run-once"
    """A person or a timer; the asking process carries it out, or nobody."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A backup that was asked for. `owner` is the process that carries it out, None while it waits for one."""

    command: CreateBackup
    origin: Origin
    received: datetime
    expires: datetime | None = None
    owner: ProcessId | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A backup as the journal knows it."""

    command: CreateBackup
    origin: Origin
    received: datetime
    expires: datetime | None
    owner: ProcessId | None
    """The process that carries it out; None while it waits for one, and when it has ended."""
    engine: ProcessId | None
    """The engine that process has started last; None before, and when the job has ended."""
    state: State
    phase: Phase | None
    attempts: int
    """How often a process began with it."""
    sequence: int
    """Of its last event; 0 before the first."""
    cancelled: bool
    """Whether somebody has asked for its end."""
    last_event: bytes | None
    """The body of its last event but warnings and progress, as it was told."""
    updated: datetime
    """When it last changed; of a job that has ended, when it ended."""
    begun: datetime | None = None
    """When its last attempt began."""
    progress: bytes | None = None
    """The body of the last event of progress of this attempt; None when it has told of none, and when it has ended."""

    @property
    def id(self) -> str:
        return self.command.backup.id


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event, ready to be told, and what it says of its job. `phase` None leaves the job's as it is."""

    backup_id: str
    type: EventType
    sequence: int
    state: State
    phase: Phase | None
    routing_key: str
    body: bytes
    verdict: Verdict | None = None
    """Of the verification that it tells of."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event in the outbox. Ids rise in the order of the transactions."""

    id: int
    backup_id: str
    type: EventType
    routing_key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a journal holds at one moment, for those who only look."""

    active: Sequence[Job]
    """The jobs that have not ended, the oldest first."""
    tasks: Sequence[Task]
    """Those that have not ended, the oldest first."""
    last_completed: Job | None
    last_failed: Job | None
    """Also one that was rejected."""
    outbox_depth: int
    outbox_oldest: datetime | None
    """When the event that waits longest was recorded; None when none waits."""
    outcomes: Mapping[EventType, int]
    """How many backups ended with which event since `since`, forgotten ones too; an event without any is left out."""
    since: datetime
    """When the journal was begun."""
    verdicts: Sequence[Verdict] = ()
    """The last one of each level and result, of the verifications that were told of."""


class Transaction(Protocol):
    """What is read and written as one. Ends with its context; not to be used afterwards. All but `add` and `replay`
    raise ValueError when asked to write of a job that the journal does not have.
    """

    @property
    def tasks(self) -> Tasks:
        """What is asked for but backups."""
        ...

    @property
    def backups(self) -> Told:
        """What is told of backups by those who carry out tasks."""
        ...

    def job(self, backup_id: str) -> Job | None: ...

    def active(self) -> Sequence[Job]:
        """The jobs that have not ended, the oldest first."""
        ...

    def add(self, job: NewJob) -> None:
        """In state NEW, with `attempts` 1 when it has an owner, 0 otherwise. Raises ValueError for an id it has."""
        ...

    def begin(self, backup_id: str, owner: ProcessId) -> None:
        """`owner` carries the job out from now on: one attempt more, no engine yet."""
        ...

    def release(self, backup_id: str) -> None:
        """Nobody carries the job out any more; it waits for somebody to begin again."""
        ...

    def left_behind(self, backup_id: str, *, objects: bool) -> None:
        """Notes whether objects of it are still in the store that should not be, also once it has ended."""
        ...

    def engine_started(self, backup_id: str, engine: ProcessId) -> None: ...

    def cancel(self, backup_id: str) -> None:
        """Notes that its end was asked for."""
        ...

    def record(self, event: EventRecord) -> None:
        """Brings the job to the event's state, and puts the event into the outbox.

        An event of progress replaces those of the same backup that are still in the outbox; no other one is ever
        dropped. A terminal state ends the job: owner and engine are forgotten. The outbox stays empty in a journal
        opened without one. Raises ValueError for a job it does not have, and for a sequence that does not rise.
        """
        ...

    def replay(self, backup_id: str) -> None:
        """Puts the job's last event into the outbox once more, if there is one."""
        ...


class Journal(Protocol):
    """Safe from any thread and any process. Every call raises JournalError (`journal_unusable`) when the file can't be
    read or written, `journal_corrupt` when its content is not what was written.
    """

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Committed, durably, when the context is left; undone when it is left by an exception. One at a time: others
        wait, in other processes too. Keep it short.
        """
        ...

    def job(self, backup_id: str) -> Job | None: ...

    def active(self) -> Sequence[Job]:
        """As in a transaction, without one: cheap, and already history."""
        ...

    def tasks(self) -> Sequence[Task]:
        """Those that have not ended, the oldest first."""
        ...

    def unclean(self) -> Sequence[Job]:
        """The jobs that have ended and have left objects in the store, the oldest first."""
        ...

    def jobs(self, limit: int) -> Sequence[Job]:
        """The newest first."""
        ...

    def last_completed(self) -> Job | None:
        """The backup that completed last."""
        ...

    def forget_before(self, moment: datetime) -> int:
        """Removes the jobs that ended before `moment`, have nothing in the outbox and left nothing behind; how many.

        Tasks that ended before, and what was told before of backups without jobs, are forgotten too. The backups that
        completed and failed last stay, for those who look.
        """
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Outbox(Protocol):
    """The events that the broker has not confirmed yet. Raises as the journal does."""

    def pending(self, limit: int) -> Sequence[Outgoing]:
        """The oldest first."""
        ...

    def confirmed(self, event_id: int) -> None:
        """Removes an event that was told. One that is gone already is no error: progress may have been replaced."""
        ...

    def depth(self) -> int: ...

    def wait(self, seconds: float) -> bool:
        """Whether something was recorded in this process since the last call, at the latest after `seconds`.

        What other processes record is not noticed: look at `pending` now and then. For one thread. Ends at once, with
        False, when the journal is closed.
        """
        ...


class View(Protocol):
    """A journal to look at. Safe from any thread. Raises as the journal does."""

    def snapshot(self) -> Snapshot:
        """Everything as of one moment."""
        ...

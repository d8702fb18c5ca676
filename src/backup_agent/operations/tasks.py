"""What all kinds of tasks have in common: what one is, what its handler works with, and how its events are numbered.

A kind is added by a Kind in `kinds.py`. What it does not do: carry tasks out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from backup_agent.cancellation import Cancellation
from backup_agent.domain import resource
from backup_agent.domain.command import TaskCommand
from backup_agent.domain.event import BackupEvent, EventError, EventType
from backup_agent.domain.state import State
from backup_agent.domain.verification import Verification
from backup_agent.errors import BackupAgentError, ErrorCode, RejectedError
from backup_agent.journal.interface import EventRecord, Job, Transaction
from backup_agent.journal.tasks import LastTold, Task
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.operations.recording import record_of
from backup_agent.operations.services import BackupServices

C = TypeVar("C", bound=TaskCommand)

_NOT_FOUND = 404
_UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be told of a backup, but for the number and the time."""

    type: EventType
    backup_id: str
    status: State
    backup: dict[str, Any]
    """The backup resource; its `status` is set to that of the event."""
    noted: State | None = None
    """The state the journal is to have of the backup; None leaves it."""
    error: EventError | None = None
    verification: Verification | None = None


class Work:
    """What a handler works with. For the thread that carries the task out."""

    def __init__(self, task: Task, services: BackupServices, cancellation: Cancellation) -> None:
        self.task = task
        self.services = services
        self.cancellation = cancellation
        self.notes = task.notes
        """What an attempt that was interrupted has noted; None at the first one."""
        self.backup: dict[str, Any] | None = None
        """The resource of the task's backup, once it is known: for the event of a failure."""
        self.met: str | None = None
        """The backup of who has the lock, if that was looked at for the first time."""

    def note(self, notes: str) -> None:
        """On disk when this returns: whoever goes on with the task after a crash finds it."""
        with self.services.journal.transaction() as transaction:
            transaction.tasks.note(self.task.id, notes)
        self.notes = notes

    def tell(self, said: Said) -> None:
        """An event before the task's last one."""
        with self.services.journal.transaction() as transaction:
            event, record = numbered(said, transaction, self.services.policy.instance_id, self.services.clock)
            transaction.backups.tell(record)
        self.services.reporter.publish(event)

    def last_told(self, backup_id: str) -> LastTold | None:
        with self.services.journal.transaction() as transaction:
            return transaction.backups.last(backup_id)


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """One kind of task.

    A handler is idempotent: after a crash it is called again with what it had noted. It holds the instance's lock, and
    what a dead process has left is cleaned up, unless the kind is `beside`. It raises BackupAgentError; a RejectedError
    means: nothing was begun.
    """

    name: str
    """The type of the command."""
    model: type[C]
    work: str
    """What the holder of the lock is said to do."""
    check: Callable[[C, Policy], None]
    """Raises RejectedError for what this agent is not to hear of: the message goes to the dead letters."""
    refuse: Callable[[C, Job], RejectedError | None]
    """Why it can't be done because of a backup that waits or runs as the command comes."""
    refuse_beside: Callable[[C, Work, str], RejectedError | None]
    """Why it can't be done while another process has the lock, for the sake of the backup of this id; None: it may be
    done later. Raises what the store raises.
    """
    carry_out: Callable[[C, Work], Said]
    """The event it ends with, which is told as the task ends."""
    failure: EventType
    """What is told when it has failed or was refused."""
    failed_status: State | None
    """The backup's status in that event; None: what is known of it, else COMPLETED."""
    failed_noted: State | None
    """The state the journal then has of the backup, if something was begun; None leaves it."""
    beside: bool = False
    """It reads the store alone: it is carried out without the lock, beside backups and other tasks."""


def failed(kind: Kind[Any], backup_id: str, backup: dict[str, Any], error: BackupAgentError) -> Said:
    refused = isinstance(error, RejectedError)
    status = _NOT_FOUND if error.code is ErrorCode.BACKUP_NOT_FOUND else _UNPROCESSABLE
    what = EventError(code=error.code.value, message=error.message, hint=error.hint, status=status if refused else None)
    known = State(backup["status"]) if backup["created"] is not None else State.COMPLETED
    return Said(
        kind.failure,
        backup_id,
        kind.failed_status or known,
        {**backup, "error": what.model_dump()},
        noted=None if refused else kind.failed_noted,
        error=what,
    )


def known_backup(job: Job | None, backup_id: str, instance_id: str) -> dict[str, Any]:
    """The resource of a backup whose manifest is not at hand."""
    if job is None:
        return resource.of_unknown(backup_id, instance_id)
    created = timestamp(job.received).partition(".")[0]
    return resource.of_request(job.command.backup, job.state, created=created, updated=created)


def numbered(said: Said, transaction: Transaction, instance_id: str, clock: Clock) -> tuple[BackupEvent, EventRecord]:
    """The event, for reporters, and its record for the journal.

    A backup's events go on being counted where the journal knows how far they are. Otherwise they go on from the time
    in seconds, which is more than any number that was counted.
    """
    now = clock.now()
    verification = said.verification
    last = transaction.backups.last(said.backup_id)
    event = BackupEvent(
        type=said.type,
        backup_id=said.backup_id,
        instance_id=instance_id,
        sequence=int(now.timestamp()) if last is None else last.sequence + 1,
        status=said.status,
        time=timestamp(now),
        error=said.error,
        verification=None if verification is None else verification.summary(),
        backup={**said.backup, "status": said.status.value, "updated": timestamp(now).partition(".")[0]},
    )
    state = said.noted or (said.status if last is None else last.state)
    verdict = None if verification is None else verification.verdict
    return event, replace(record_of(event), state=state, verdict=verdict)

"""What becomes of a message that asks for something else than a backup: a task on disk, or refused for good.

One that comes again attaches to its task while that waits or runs, and has its event told again when that has ended.
What it does not do: carry anything out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backup_agent.domain.event import BackupEvent
from backup_agent.domain.state import TERMINAL
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.inbox.wire import Received
from backup_agent.journal.interface import Journal, Origin, Transaction
from backup_agent.journal.tasks import NewTask, Task, TaskState
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import Clock
from backup_agent.operations.kinds import KINDS
from backup_agent.operations.tasks import Kind, failed, known_backup, numbered
from backup_agent.report.interface import Reporter

_ENDED = (TaskState.SUCCEEDED, TaskState.FAILED)


class TaskAcceptance:
    """For the inbox's thread."""

    def __init__(
        self, journal: Journal, policy: Policy, clock: Clock, reporter: Reporter, *, on_task: Callable[[], None]
    ) -> None:
        """`reporter` is told of what is refused; `on_task` is called when a task waits, on disk. Neither may block."""
        self._journal = journal
        self._policy = policy
        self._clock = clock
        self._reporter = reporter
        self._on_task = on_task

    def __call__(self, received: Received) -> None:
        """Raises RejectedError for what is to go to the dead letters, and JournalError."""
        kind = KINDS[received.type]
        kind.check(received.command, self._policy)
        with self._journal.transaction() as transaction:
            event = self._note(kind, received, transaction)
        if event is not None:
            self._reporter.publish(event)
        self._on_task()

    def _note(self, kind: Kind[Any], received: Received, transaction: Transaction) -> BackupEvent | None:
        """The event of a refusal."""
        new = self._task(kind, received, transaction)
        known = transaction.tasks.find(new.id)
        if known is not None:
            _attach(known, new, transaction)
            return None
        if any(_same(new, task) for task in transaction.tasks.open()):
            return None
        transaction.tasks.add(new)
        refusals = (kind.refuse(received.command, job) for job in transaction.active())
        refused = next(filter(None, refusals), None)
        job = transaction.job(new.backup_id) if new.backup_id is not None else None
        if refused is None or new.backup_id is None or (job is not None and job.state not in TERMINAL):
            return None  # events of a backup that is being made are counted by those who make it
        instance_id = self._policy.instance_id
        backup = known_backup(job, new.backup_id, instance_id)
        said = failed(kind, new.backup_id, backup, refused)
        event, record = numbered(said, transaction, instance_id, self._clock)
        transaction.tasks.end(new.id, record, succeeded=False)
        return event

    def _task(self, kind: Kind[Any], received: Received, transaction: Transaction) -> NewTask:
        return NewTask(
            id=received.id,
            kind=kind.name,
            backup_id=getattr(received.command, "backup_id", None),
            command=received.command.model_dump_json(),
            origin=Origin.QUEUE,
            received=self._clock.now(),
            expires=received.expires,
            beside=_at_work(transaction),
        )


def _at_work(transaction: Transaction) -> tuple[str, ...]:
    job = next(iter(transaction.active()), None)
    if job is not None:
        return (job.id,)
    running = (task for task in transaction.tasks.open() if task.state is TaskState.RUNNING)
    return tuple(task.backup_id for task in running if task.backup_id is not None)


def _attach(known: Task, new: NewTask, transaction: Transaction) -> None:
    if (known.kind, known.command) != (new.kind, new.command):
        raise RejectedError(
            ErrorCode.INVALID_MESSAGE,
            "another command came before from the same source with the same id",
            "Give each command an id of its own.",
        )
    if known.state in _ENDED:
        transaction.tasks.replay(known.id)


def _same(new: NewTask, task: Task) -> bool:
    return (new.kind, new.command) == (task.kind, task.command) and task.origin is Origin.QUEUE

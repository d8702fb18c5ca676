"""What becomes of a message from the queue: on disk before it is acknowledged, or refused for good.

A command that comes again attaches to its backup while that runs, and has its last event told again when that has
ended. What it does not do: carry anything out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from backup_agent.domain.command import CancelBackup, CreateBackup
from backup_agent.domain.instance_command import ForInstance
from backup_agent.domain.state import TERMINAL, State
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, RejectedError
from backup_agent.inbox.interface import Refused
from backup_agent.inbox.wire import parse_command
from backup_agent.journal.interface import Job, Journal, NewJob, Origin, Transaction
from backup_agent.operations.admission import Policy, check_addressee
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.operations.instance_accept import OperationAcceptance
from backup_agent.operations.job import another_backup, cancelled, expired, is_orphan
from backup_agent.operations.recording import InTransaction
from backup_agent.operations.services import Administered
from backup_agent.operations.task_accept import TaskAcceptance
from backup_agent.operations.telling import Teller
from backup_agent.report.interface import Reporter


class Acceptance:
    """Implements inbox.interface.Accept. What is asked for but backups is TaskAcceptance's."""

    def __init__(
        self,
        journal: Journal,
        policy: Policy,
        clock: Clock,
        reporter: Reporter,
        *,
        on_job: Callable[[], None],
        on_cancel: Callable[[str], None],
        administration: Administered | None = None,
    ) -> None:
        """`reporter` is told of what is rejected. `on_job` is called when a backup waits, `on_cancel` with the id of
        one whose end is asked for. All three when it is on disk; they must not block.
        """
        self._journal = journal
        self._policy = policy
        self._clock = clock
        self._reporter = reporter
        self._on_job = on_job
        self._on_cancel = on_cancel
        self._tasks = TaskAcceptance(journal, policy, clock, reporter, on_task=on_job)
        self._operations = OperationAcceptance(journal, policy, clock, administration, on_task=on_job)

    def __call__(self, body: bytes) -> Refused | None:
        """Raises JournalError: the message can't be taken over now."""
        try:
            received = parse_command(body)
            match received.command:
                case CreateBackup() as create:
                    check_addressee(create.backup, self._policy)
                    self._create(create, received.expires)
                case CancelBackup(backup_id=backup_id):
                    self._cancel(backup_id)
                case ForInstance() as operation:
                    self._operations(received, operation)
                case _:
                    self._tasks(received)
        except RejectedError as error:
            return Refused(error.code, error.message)
        return None

    def _create(self, command: CreateBackup, expires: datetime | None) -> None:
        now = self._clock.now()
        with self._journal.transaction() as transaction:
            events = InTransaction(transaction)
            known = transaction.job(command.backup.id)
            if known is not None:
                _attach(transaction, known, command)
                return
            busy = next(
                (job for job in transaction.active() if job.origin is Origin.QUEUE and not is_orphan(job)), None
            )
            transaction.add(NewJob(command, Origin.QUEUE, now, expires))
            if expires is not None and expires <= now:
                self._reject(command, events, expired(expires))
            elif busy is not None:
                self._reject(command, events, _busy(busy))
        events.tell(self._reporter)
        self._on_job()

    def _cancel(self, backup_id: str) -> None:
        with self._journal.transaction() as transaction:
            events = InTransaction(transaction)
            job = transaction.job(backup_id)
            if job is None:
                raise RejectedError(
                    ErrorCode.BACKUP_NOT_FOUND,
                    f"backup {backup_id} can't be cancelled: it was never asked of this agent",
                    "Send the cancellation to the agent that takes the backup.",
                )
            if job.state in TERMINAL:
                transaction.replay(backup_id)
                return
            if job.origin is Origin.RUN_ONCE:
                raise RejectedError(
                    ErrorCode.INVALID_REQUEST,
                    f"backup {backup_id} can't be cancelled: `backup-agent run-once` takes it, "
                    f"pid {job.owner.pid if job.owner else 'unknown'}",
                    "Stop that process.",
                )
            transaction.cancel(backup_id)
            if job.owner is None:
                self._reject(job.command, events, cancelled(backup_id), job)
        events.tell(self._reporter)
        self._on_cancel(backup_id)

    def _reject(
        self, command: CreateBackup, events: InTransaction, error: BackupAgentError, job: Job | None = None
    ) -> None:
        """Ends a job that nobody has begun, or, with `job`, one that nobody works at any more."""
        teller = Teller(
            command.backup,
            timestamp(job.received if job else self._clock.now()),
            events,
            self._clock,
            sequence=job.sequence if job else 0,
            state=job.state if job else State.NEW,
        )
        teller.failed(error)


def _busy(other: Job) -> BusyError:
    return BusyError(
        ErrorCode.INSTANCE_BUSY,
        f"instance is busy: backup {other.id} is being taken",
        "Ask again when it has ended, or cancel it.",
    )


def _attach(transaction: Transaction, known: Job, command: CreateBackup) -> None:
    """Raises RejectedError (`backup_id_in_use`) for another command: an event would speak of the wrong backup."""
    if known.command != command:
        raise another_backup(known)
    if known.state in TERMINAL:
        transaction.replay(known.id)

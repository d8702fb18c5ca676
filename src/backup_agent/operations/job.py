"""Takes a backup on in the journal: from then on this process owes the world an end of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backup_agent.cancellation import Cancellation
from backup_agent.domain.command import CreateBackup
from backup_agent.domain.state import TERMINAL, State
from backup_agent.errors import BusyError, ErrorCode, InterruptedByOperator, RejectedError
from backup_agent.instance.process import lives, this_process
from backup_agent.journal.interface import Job, NewJob, Origin
from backup_agent.journal.tasks import Task
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.operations.recording import Recorder
from backup_agent.operations.services import BackupServices
from backup_agent.operations.telling import Teller


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a backup, and until when it makes sense to begin with it."""

    origin: Origin
    expires: datetime | None = None
    refused: BusyError | None = None
    """Why it is not to be begun, though the instance is free: it has waited for too long."""


def begin(command: CreateBackup, asked: Asked, services: BackupServices) -> Teller | None:
    """Who tells of the backup from now on; None when it has COMPLETED already, and the store has it.

    Raises RejectedError (`backup_id_in_use`), BusyError when another process takes that very backup, and JournalError.
    """
    ours = this_process()
    with services.journal.transaction() as transaction:
        job = transaction.job(command.backup.id)
        if job is None:
            now = services.clock.now()
            transaction.add(NewJob(command, asked.origin, now, asked.expires, ours))
            return _teller(command, services, created=now)
        if job.command != command:
            raise another_backup(job)
        if job.state is State.COMPLETED:
            return None
        _check_open(job)
        transaction.begin(job.id, ours)
        return go_on_telling(job, services)


def check_expiry(asked: Asked, clock: Clock) -> None:
    """Raises RejectedError (`command_expired`, `instance_busy`)."""
    if asked.refused is not None:
        raise asked.refused
    if asked.expires is not None and asked.expires <= clock.now():
        raise expired(asked.expires)


def let_wait(
    command: CreateBackup, asked: Asked, services: BackupServices, teller: Teller, why: InterruptedByOperator
) -> bool:
    """Whether a stop of the agent came before the backup of a message was begun: it is then kept for the next start."""
    if asked.origin is not Origin.QUEUE or teller.state is not State.NEW or why.code is not ErrorCode.INTERRUPTED:
        return False
    with services.journal.transaction() as transaction:
        transaction.release(command.backup.id)
    return True


def _check_open(job: Job) -> None:
    if job.state in TERMINAL:
        raise RejectedError(
            ErrorCode.BACKUP_ID_IN_USE,
            f"backup {job.id} was asked for before, and has {job.state}",
            "Ask for a new backup, with an id of its own.",
        )
    if job.owner is not None and lives(job.owner):
        raise BusyError(
            ErrorCode.INSTANCE_BUSY,
            f"instance is busy: backup {job.id} is being taken already, by pid {job.owner.pid}",
            "Wait for its end.",
        )


def go_on_telling(job: Job, services: BackupServices) -> Teller:
    """Who tells of a backup that others have told of before."""
    return _teller(job.command, services, created=job.received, sequence=job.sequence, state=job.state)


def catalogue_of(
    command: CreateBackup, services: BackupServices, cancellation: Cancellation, give_up_after: float | None = None
) -> Catalogue:
    """Where the backup goes, or went; `give_up_after` as for `connect_store`."""
    store = services.connect_store(cancellation, give_up_after)
    return Catalogue(store, command.container or services.container, services.trust)


def _teller(
    command: CreateBackup, services: BackupServices, *, created: datetime, sequence: int = 0, state: State = State.NEW
) -> Teller:
    recorder = Recorder(services.journal, services.clock, services.reporter)
    return Teller(command.backup, timestamp(created), recorder, services.clock, sequence=sequence, state=state)


def is_orphan(job: Job | Task) -> bool:
    """Whether the process that carried it out has died."""
    return job.owner is not None and job.owner != this_process() and not lives(job.owner)


def expired(moment: datetime) -> RejectedError:
    return RejectedError(
        ErrorCode.COMMAND_EXPIRED,
        f"the command expired at {timestamp(moment)}, before the backup could begin",
        "Ask for a new backup; give commands more time, or find out what kept the agent from its queue.",
    )


def cancelled(backup_id: str) -> InterruptedByOperator:
    return InterruptedByOperator(
        ErrorCode.CANCELLED, f"backup {backup_id} was cancelled", "Ask for a new backup when it suits."
    )


def another_backup(known: Job) -> RejectedError:
    return RejectedError(
        ErrorCode.BACKUP_ID_IN_USE,
        f"another backup {known.id} was asked for already: {known.command.backup.name!r}",
        "Give the new backup an id of its own.",
    )

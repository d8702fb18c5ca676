"""Carries out one task of the queue: under the instance's lock, its end and the event of it in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.state import TERMINAL
from backup_agent.errors import (
    BackupAgentError,
    BusyError,
    ErrorCode,
    InterruptedByOperator,
    JournalError,
    RejectedError,
)
from backup_agent.instance.process import this_process
from backup_agent.journal.interface import Origin
from backup_agent.journal.tasks import Task
from backup_agent.operations import instance_run
from backup_agent.operations.job import expired
from backup_agent.operations.kinds import KINDS, OPERATIONS
from backup_agent.operations.recover import recover
from backup_agent.operations.services import BackupServices
from backup_agent.operations.tasks import Kind, Said, Work, failed, known_backup, numbered

log = structlog.get_logger(__name__)


def carry_out(task: Task, services: BackupServices, cancellation: Cancellation) -> None:
    """Returns when the task has ended well. Raises BackupAgentError when it has failed, and its event is recorded.

    BusyError and InterruptedByOperator: it waits again, to be gone on with later.
    """
    if (operation := OPERATIONS.get(task.kind)) is not None:
        instance_run.carry_out(operation, task, services, cancellation)
        return
    kind = KINDS.get(task.kind)
    if kind is None:
        _give_up(task, services)
        return
    work = Work(task, services, cancellation)
    with services.journal.transaction() as transaction:
        transaction.tasks.begin(task.id, this_process())
    concluded(kind, work, lambda: _locked(kind, kind.model.model_validate_json(task.command), work))


def go_on(services: BackupServices, cancellation: Cancellation, kind: Kind[Any]) -> list[Task]:
    """Brings to an end what a crash has interrupted of a kind: the tasks that have ended well, then.

    The caller holds the instance's lock, and has recovered. What fails once more is logged, and has ended too.
    """
    ended = []
    for task in services.journal.tasks():
        if task.kind != kind.name or task.owner is not None or task.notes is None:
            continue
        work = Work(task, services, cancellation)
        with services.journal.transaction() as transaction:
            transaction.tasks.begin(task.id, this_process())
        try:
            concluded(kind, work, partial(_resumed, kind, work))
        except (JournalError, InterruptedByOperator):
            raise
        except BackupAgentError as error:
            log.warning(
                "what was interrupted failed again", kind=task.kind, backup_id=task.backup_id, reason=error.message
            )
        else:
            ended.append(task)
    return ended


def _resumed(kind: Kind[Any], work: Work) -> Said:
    return kind.carry_out(kind.model.model_validate_json(work.task.command), work)


def concluded(kind: Kind[Any], work: Work, act: Callable[[], Said]) -> Said:
    """Ends the task as `act` does, or lets it wait."""
    try:
        said = act()
    except (BusyError, InterruptedByOperator):
        with work.services.journal.transaction() as transaction:
            transaction.tasks.release(work.task.id, counts=False, beside=work.met)
        raise
    except JournalError:
        raise
    except BackupAgentError as error:
        _end_failed(kind, work, error)
        raise
    except Exception as error:
        reason = BackupAgentError(ErrorCode.INTERNAL, f"internal error: {type(error).__name__}", "Please report it.")
        _end_failed(kind, work, reason)
        raise
    _end(work, said, succeeded=True)
    return said


def _locked(kind: Kind[Any], command: Any, work: Work) -> Said:  # noqa: ANN401 - of the kind's own model
    task, services = work.task, work.services
    _check_not_made(work)
    if task.expires is not None and task.expires <= services.clock.now() and work.notes is None:
        raise expired(task.expires)
    if task.attempts >= services.retries.at_most:
        raise BackupAgentError(
            ErrorCode.INTERRUPTED,
            f"the agent died {task.attempts} times while it carried out {task.kind}",
            "See the agent's log and the kernel's for why it died, then ask for it again.",
        )
    if kind.beside:
        return kind.carry_out(command, work)
    try:
        with services.lock(kind.work, task.backup_id, work.cancellation):
            recover(services, work.cancellation)
            return kind.carry_out(command, work)
    except BusyError as error:
        holder = services.lock_holder()
        if holder is not None and holder.backup_id is not None and holder.backup_id not in task.beside:
            work.met = holder.backup_id
            refused = kind.refuse_beside(command, work, holder.backup_id)
            if refused is not None:
                raise refused from error
        raise


def _check_not_made(work: Work) -> None:
    """The events of a backup that is being made are counted by the process that makes it."""
    backup_id = work.task.backup_id
    job = work.services.journal.job(backup_id) if backup_id is not None else None
    if job is not None and job.state not in TERMINAL and job.owner is not None:
        raise BusyError(
            ErrorCode.INSTANCE_BUSY, f"instance is busy: backup {job.id} is being taken", "Wait for its end."
        )


def _end_failed(kind: Kind[Any], work: Work, error: BackupAgentError) -> None:
    backup_id, instance_id = work.task.backup_id, work.services.policy.instance_id
    if backup_id is None or (isinstance(error, RejectedError) and work.task.origin is Origin.RUN_ONCE):
        # Who asked by hand is told by hand, and nothing has changed.
        with work.services.journal.transaction() as transaction:
            transaction.tasks.end(work.task.id, None, succeeded=False)
        return
    backup = work.backup or known_backup(work.services.journal.job(backup_id), backup_id, instance_id)
    _end(work, failed(kind, backup_id, backup, error), succeeded=False)


def _end(work: Work, said: Said, *, succeeded: bool) -> None:
    services = work.services
    with services.journal.transaction() as transaction:
        event, record = numbered(said, transaction, services.policy.instance_id, services.clock)
        transaction.tasks.end(work.task.id, record, succeeded=succeeded)
    services.reporter.publish(event)


def _give_up(task: Task, services: BackupServices) -> None:
    """Of a newer version of this program."""
    log.error("a command of the journal is not known to this version", kind=task.kind, backup_id=task.backup_id)
    with services.journal.transaction() as transaction:
        transaction.tasks.end(task.id, None, succeeded=False)

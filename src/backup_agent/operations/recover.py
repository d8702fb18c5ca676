"""Brings to an end what a process that died has left: its engine, its files, its chunks, and its word about the backup.

The caller holds the instance's lock, so that no live attempt can be met. A backup whose manifest is in the store has
COMPLETED, whatever the journal could still note; of any other nothing stays, and it has FAILED or is taken again.
"""

from __future__ import annotations

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import State
from backup_agent.errors import BackupAgentError, EngineError, ErrorCode, MissingError, StoreError
from backup_agent.instance.process import end, lives
from backup_agent.journal.interface import Job, Origin
from backup_agent.journal.tasks import Task
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.cleanup import putting_up_with_locks, remove_objects
from backup_agent.operations.garbage_marker import remove_markers
from backup_agent.operations.job import cancelled, catalogue_of, go_on_telling, is_orphan
from backup_agent.operations.services import BackupServices, Retries
from backup_agent.operations.telling import tell_completed
from backup_agent.stream import spool_bounds

log = structlog.get_logger(__name__)


def recover(services: BackupServices, cancellation: Cancellation) -> None:
    """Raises what the store raises while it is not known how a backup ended: then recovery has to come again.

    Idempotent: after a crash in the middle it does the rest. Objects that an earlier clean-up could not remove are
    removed too, where the store lets that be done now.
    """
    orphans = [job for job in services.journal.active() if is_orphan(job)]
    if orphans:
        for job in orphans:
            if job.engine is not None:
                _end_engine(job.engine)
        services.engine.tidy()
        spool_bounds.tidy(services.spool)
        for job in orphans:
            _settle(job, services, cancellation)
    for task in services.journal.tasks():
        if is_orphan(task):
            _let_go(task, services)
    for job in services.journal.unclean():
        _clean(job, services, cancellation)


def _let_go(task: Task, services: BackupServices) -> None:
    """It is gone on with from what was noted. What was asked for by hand, with nothing noted, was not begun: who asked
    knows that it did not end.
    """
    with services.journal.transaction() as transaction:
        if task.origin is Origin.RUN_ONCE and task.notes is None:
            transaction.tasks.end(task.id, None, succeeded=False)
        else:
            transaction.tasks.release(task.id, counts=True)
            log.warning("a command that was interrupted is gone on with", kind=task.kind, backup_id=task.backup_id)


def _clean(job: Job, services: BackupServices, cancellation: Cancellation) -> None:
    catalogue = catalogue_of(job.command, services, cancellation, give_up_after=0)
    try:
        remove_objects(catalogue.store, catalogue.place(job.command.backup.instance_id, job.id))
    except StoreError as error:
        log.warning("objects of a failed backup still remain", backup_id=job.id, code=error.code, reason=error.message)
        return
    with services.journal.transaction() as transaction:
        transaction.left_behind(job.id, objects=False)
    log.info("objects of a failed backup are removed", backup_id=job.id)


def _end_engine(engine: ProcessId) -> None:
    """It should have died with its agent (PDEATHSIG)."""
    if not end(engine):
        return
    log.warning("killed the engine that a dead agent had left", pid=engine.pid)
    if lives(engine):
        raise EngineError(
            ErrorCode.ENGINE_CONNECTION_LINGERS,
            f"the engine of a dead agent, pid {engine.pid}, can't be killed",
            "Find out what holds that process (a hanging disk?); no backup can be taken before it has ended.",
        )


def _settle(job: Job, services: BackupServices, cancellation: Cancellation) -> None:
    request = job.command.backup
    teller = go_on_telling(job, services)
    kept = False

    def note_kept() -> None:
        nonlocal kept
        kept = True

    if job.state is not State.NEW:  # before, nothing is stored, and the store may never have been reached
        catalogue = catalogue_of(job.command, services, cancellation)
        committed = _committed(job, catalogue)
        if committed is not None:
            remove_markers(catalogue.store, catalogue.place(request.instance_id, request.id))
            tell_completed(teller, committed, catalogue)
            return
        place = catalogue.place(request.instance_id, request.id)
        with putting_up_with_locks(place, note_kept):
            remove_objects(catalogue.store, place)
    with services.journal.transaction() as transaction:
        now = transaction.job(job.id) or job  # it may have been cancelled since
        again = _is_taken_again(now, services.retries)
        if again:
            transaction.release(job.id)
        elif kept:
            transaction.left_behind(job.id, objects=True)
    if again:
        log.warning("a backup that was interrupted is taken again", backup_id=job.id, attempts=job.attempts)
    else:
        teller.failed(cancelled(job.id) if now.cancelled else _interrupted(job))


def _committed(job: Job, catalogue: Catalogue) -> SealedManifest | None:
    """The manifest, which is the commit: the process may have died before it could note that."""
    try:
        return catalogue.load(job.command.backup.instance_id, job.id)
    except MissingError:
        return None


def _is_taken_again(job: Job, retries: Retries) -> bool:
    """A command of the queue that nobody had really begun with is not lost, but one may be what kills the agent."""
    wanted = retries.wanted or job.state is State.NEW
    return wanted and job.origin is Origin.QUEUE and not job.cancelled and job.attempts < retries.at_most


def _interrupted(job: Job) -> BackupAgentError:
    return BackupAgentError(
        ErrorCode.INTERRUPTED,
        f"the process that took backup {job.id} died; what it had stored was removed",
        "See the agent's log and the kernel's for why it died, then ask for a new backup.",
    )

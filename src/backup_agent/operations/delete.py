"""Deletes a backup and all that is built on it, the deepest first, each one's manifest first: what is left is
restorable at any moment, and a half-deleted backup is none.

The plan is noted in the journal before anything is removed: after a crash it says which objects without a manifest are
the rest of a deletion. A backup that somebody takes, restores or has pinned stays, and then nothing is removed.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from pydantic import ValidationError

from backup_agent.domain.command import DeleteBackup
from backup_agent.domain.deletion import Doomed, Plan
from backup_agent.domain.event import EventType
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.state import TERMINAL, State
from backup_agent.errors import BackupAgentError, ErrorCode, IntegrityError, InUseError, MissingError, RejectedError
from backup_agent.journal.interface import Job, Journal, Origin
from backup_agent.operations.admission import Policy
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.delete_objects import Removed, Remover
from backup_agent.operations.delete_plan import not_found, plan
from backup_agent.operations.garbage_marker import check_nobody_else
from backup_agent.operations.job import is_orphan
from backup_agent.operations.pins import pin_of, pinned, pins_of
from backup_agent.operations.services import Services
from backup_agent.operations.tasks import Kind, Said, Work, known_backup

log = structlog.get_logger(__name__)

WORK = "delete"


def carry_out(command: DeleteBackup, work: Work) -> Said:
    """For the queue, and for what a crash has interrupted."""
    if work.notes is None:
        catalogue = catalogue_of(command.backup_id, work)
        wanted = _begin(command, catalogue, work)
    else:
        noted = _noted(work.notes)
        catalogue = Catalogue(
            work.services.connect_store(work.cancellation, None), noted.container, work.services.trust
        )
        try:
            wanted = _go_on(command, noted, catalogue, work)
        except RejectedError as error:
            raise _partly(error) from error
    remove(wanted, catalogue, work)
    return deleted(command.backup_id, wanted, work)


def catalogue_of(backup_id: str, work: Work) -> Catalogue:
    """Where its command had it put, as far as the journal knows."""
    job = work.services.journal.job(backup_id)
    container = job.command.container if job is not None else None
    services = work.services
    return Catalogue(services.connect_store(work.cancellation, None), container or services.container, services.trust)


def remove(wanted: Plan, catalogue: Catalogue, work: Work, on_removed: Callable[[], None] = lambda: None) -> Removed:
    """All of `wanted`, which must be noted; tells of each but the last, which is the task's own.

    Raises BusyError (`backup_busy`) while one of them is being verified on this host.
    """
    with work.services.readers.removing(wanted.ids):
        return _remove(wanted, catalogue, work, on_removed)


def _remove(wanted: Plan, catalogue: Catalogue, work: Work, on_removed: Callable[[], None]) -> Removed:
    remover = Remover(catalogue.store, work.cancellation, on_removed)
    instance_id = work.services.policy.instance_id
    total = Removed()
    for doomed in wanted.backups:
        work.cancellation.check()
        place = catalogue.place(instance_id, doomed.id)
        pin = pin_of(catalogue.store, place) if _is_backup(doomed, catalogue, instance_id) else None
        if pin is not None:  # since the plan was made
            raise _partly(pinned(doomed.id, pin))
        expected = frozenset(place.chunk(number, doomed.suffix) for number in range(doomed.chunks))
        removed = remover.remove(place, expected)
        log.info("a backup is deleted", backup_id=doomed.id, objects=removed.objects, bytes=removed.bytes)
        total += removed
        if doomed is not wanted.backups[-1]:
            _tell(doomed, work)
    return total


def deleted(backup_id: str, wanted: Plan, work: Work) -> Said:
    """Of the task's own backup."""
    doomed = next((one for one in wanted.backups if one.id == backup_id), None)
    backup = (
        doomed.backup
        if doomed
        else known_backup(work.services.journal.job(backup_id), backup_id, work.services.policy.instance_id)
    )
    return _gone(backup_id, backup)


def check(wanted: Plan, catalogue: Catalogue, services: Services) -> None:
    """Raises RejectedError when one of them has to stay, BusyError (`backup_busy`) while one is being verified."""
    instance_id = services.policy.instance_id
    whole = [doomed.id for doomed in wanted.backups if doomed.whole]  # of the rest of a deletion, the pin goes with it
    for backup_id, pin in pins_of(catalogue, instance_id, whole).items():
        raise pinned(backup_id, pin)
    for doomed in wanted.backups:
        check_nobody_else(catalogue.store, catalogue.place(instance_id, doomed.id))
    with services.readers.removing(wanted.ids):
        return


def in_use(backup_id: str, what: str) -> InUseError:
    return InUseError(
        ErrorCode.BACKUP_IN_USE,
        f"backup {backup_id} can't be deleted: {what}",
        "Wait for the end of that, then delete it.",
    )


def _begin(command: DeleteBackup, catalogue: Catalogue, work: Work) -> Plan:
    services, backup_id = work.services, command.backup_id
    instance_id = services.policy.instance_id
    job = services.journal.job(backup_id)
    if job is not None and job.state not in TERMINAL:
        raise in_use(backup_id, "it is being taken")
    _check_owner(command, catalogue, instance_id)
    wanted = plan(backup_id, catalogue, instance_id, services.journal)
    if not wanted.backups:
        if work.last_told(backup_id) is None:
            raise not_found(backup_id)
        return wanted  # failed and cleaned up, or deleted before
    work.backup = wanted.backups[-1].backup
    if worked_on := wanted.ids.intersection(work.task.beside):
        raise in_use(backup_id, f"backup {min(worked_on)} was being worked on when that was asked for")
    check(wanted, catalogue, services)
    work.note(wanted.model_dump_json())
    return wanted


def _noted(notes: str) -> Plan:
    try:
        return Plan.model_validate_json(notes)
    except ValidationError as error:
        raise IntegrityError(
            ErrorCode.JOURNAL_CORRUPT, "what the journal noted of a deletion can't be read", "Delete the backup again."
        ) from error


def _partly(error: RejectedError) -> BackupAgentError:
    """What would have been a refusal, had nothing been removed before."""
    return BackupAgentError(error.code, f"{error.message}; what is built on it may be gone already", error.hint)


def _go_on(command: DeleteBackup, noted: Plan, catalogue: Catalogue, work: Work) -> Plan:
    """What was noted, and what a control plane has had built on it since; by hand, only what was agreed to."""
    services = work.services
    work.backup = noted.backups[-1].backup
    now = plan(command.backup_id, catalogue, services.policy.instance_id, services.journal)
    new = tuple(doomed for doomed in now.backups if doomed.id not in noted.ids)
    if new and work.task.origin is Origin.RUN_ONCE:
        raise RejectedError(
            ErrorCode.BACKUP_HAS_DEPENDANTS,
            f"backup {command.backup_id} has had others built on it since its deletion began: {new[0].id}",
            "Delete it again, with --cascade if those are to go too.",
        )
    wanted = Plan(container=noted.container, backups=new + noted.backups)
    check(Plan(container=noted.container, backups=new), catalogue, services)
    work.note(wanted.model_dump_json())
    return wanted


def _is_backup(doomed: Doomed, catalogue: Catalogue, instance_id: str) -> bool:
    """Whether its manifest is still there."""
    try:
        catalogue.store.get(catalogue.place(instance_id, doomed.id).manifest, limit=1)
    except MissingError:
        return False
    return True


def _check_owner(command: DeleteBackup, catalogue: Catalogue, instance_id: str) -> None:
    """Raises RejectedError for a backup of another account; one that can't be read is the instance's, and so ours."""
    found: SealedManifest | None = None
    try:
        found = catalogue.load(instance_id, command.backup_id)
    except (MissingError, IntegrityError):
        return
    if found.manifest.account_id != command.account_id:
        raise not_found(command.backup_id)


def _tell(doomed: Doomed, work: Work) -> None:
    last = work.last_told(doomed.id)
    if last is None or last.state is not State.DELETED:  # not before a crash already
        work.tell(_gone(doomed.id, doomed.backup))


def _gone(backup_id: str, backup: dict[str, object]) -> Said:
    nothing = {"locationRef": None, "error": None}
    return Said(EventType.DELETED, backup_id, State.DELETED, {**backup, **nothing}, noted=State.DELETED)


def _check_account(command: DeleteBackup, policy: Policy) -> None:
    if command.account_id != policy.account_id:
        raise not_found(command.backup_id)


def _refuse(command: DeleteBackup, job: Job) -> RejectedError | None:
    if job.command.backup.parent_id == command.backup_id and not is_orphan(job):
        return in_use(command.backup_id, f"backup {job.id} is being built on it")
    return None


def _refuse_beside(command: DeleteBackup, work: Work, at_work: str) -> RejectedError | None:
    """The one at work may be one of those to go, or be built on one of them."""
    catalogue = catalogue_of(command.backup_id, work)
    wanted = plan(command.backup_id, catalogue, work.services.policy.instance_id, work.services.journal)
    return refusal_beside(command.backup_id, wanted.ids, at_work, work.services.journal)


def refusal_beside(backup_id: str, ids: frozenset[str], at_work: str, journal: Journal) -> RejectedError | None:
    """Why `ids` can't be deleted while another process works on the backup `at_work`."""
    other = journal.job(at_work)
    parent = other.command.backup.parent_id if other is not None and other.state not in TERMINAL else None
    if at_work in ids or parent in ids:
        return in_use(backup_id, f"backup {at_work} is being worked on")
    return None


DELETE = Kind(
    name="backup.delete",
    model=DeleteBackup,
    work=WORK,
    check=_check_account,
    refuse=_refuse,
    refuse_beside=_refuse_beside,
    carry_out=carry_out,
    failure=EventType.DELETE_FAILED,
    failed_status=State.DELETE_FAILED,
    failed_noted=State.DELETE_FAILED,
)

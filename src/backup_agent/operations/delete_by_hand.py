"""Deletes backups for a person: what was shown to him and agreed to, and nothing else.

The same as a command does, in the same journal: the platform hears of it, and after a crash the next one who deletes
goes on with it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from backup_agent.cancellation import Cancellation
from backup_agent.domain.command import DeleteBackup
from backup_agent.domain.deletion import Plan
from backup_agent.errors import BusyError, ErrorCode, RejectedError
from backup_agent.instance.process import this_process
from backup_agent.journal.interface import Origin
from backup_agent.journal.tasks import NewTask, Task
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.delete import DELETE, check, deleted, refusal_beside, remove
from backup_agent.operations.delete_objects import Removed
from backup_agent.operations.delete_plan import Shelf, not_found, plan, resolve
from backup_agent.operations.recover import recover
from backup_agent.operations.restore import RestoreProgress
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import concluded, go_on
from backup_agent.operations.tasks import Said, Work


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a deletion would remove, as it was looked up."""

    backup_id: str
    plan: Plan


@dataclass(slots=True)
class Deletion:
    """What was deleted so far."""

    ids: list[str] = field(default_factory=list)
    removed: Removed = field(default_factory=Removed)


def foresee(text: str, services: BackupServices, cancellation: Cancellation) -> Foreseen:
    """Changes nothing. The plan is empty where only the end of a deletion has to be noted.

    Raises RejectedError (`backup_not_found`, `invalid_request`).
    """
    instance_id = services.policy.instance_id
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    backup_id = resolve(text, catalogue, instance_id)
    wanted = plan(backup_id, catalogue, instance_id, services.journal)
    if not wanted.backups and all(task.backup_id != backup_id for task in services.journal.tasks()):
        raise not_found(backup_id)
    return Foreseen(backup_id, wanted)


def delete_by_hand(
    foreseen: Foreseen,
    services: BackupServices,
    cancellation: Cancellation,
    on_progress: Callable[[RestoreProgress], None],
) -> Deletion:
    """Raises RejectedError when it can't be done, or is not what was foreseen any more; BusyError; StoreError when a
    part of it may be done.
    """
    with deleting("delete", foreseen.backup_id, foreseen.plan.ids, services, cancellation) as done:
        delete_agreed(foreseen.backup_id, foreseen.plan.ids, services, cancellation, on_progress, done=done)
        if foreseen.backup_id not in done.ids:
            raise not_found(foreseen.backup_id)
    return done


@contextmanager
def deleting(
    work: str, backup_id: str | None, ids: frozenset[str], services: BackupServices, cancellation: Cancellation
) -> Iterator[Deletion]:
    """Holds the instance's lock; what a crash has interrupted is brought to its end first. `ids` are to be deleted.

    Raises InUseError (`backup_in_use`) or BusyError when somebody else has the lock.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(services.lock(work, backup_id, cancellation))
        except BusyError as error:
            holder = services.lock_holder()
            if holder is not None and holder.backup_id is not None:
                refused = refusal_beside(backup_id or holder.backup_id, ids, holder.backup_id, services.journal)
                if refused is not None:
                    raise refused from error
            raise
        recover(services, cancellation)
        done = Deletion()
        for task in go_on(services, cancellation, DELETE):
            done.ids += [doomed.id for doomed in Plan.model_validate_json(task.notes or "").backups]
        yield done


def delete_agreed(
    backup_id: str,
    agreed: frozenset[str],
    services: BackupServices,
    cancellation: Cancellation,
    on_progress: Callable[[RestoreProgress], None],
    *,
    done: Deletion,
    found: Shelf | None = None,
) -> None:
    """Deletes a backup and what is built on it, all of which must be agreed to, within `deleting`.

    One that is gone by now is no error. `found` as for `plan`.
    """
    instance_id = services.policy.instance_id
    command = DeleteBackup(backup_id=backup_id, account_id=services.policy.account_id)
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    wanted = plan(backup_id, catalogue, instance_id, services.journal, found)
    if not wanted.backups:
        return
    if new := sorted(wanted.ids - agreed):
        raise dependants(backup_id, new)
    check(wanted, catalogue, services)
    work = Work(_begin(command, wanted, services), services, cancellation)
    work.backup = wanted.backups[-1].backup
    steps = _Steps(wanted, on_progress)

    def act() -> Said:
        done.removed += remove(wanted, catalogue, work, steps.removed)
        return deleted(backup_id, wanted, work)

    concluded(DELETE, work, act)
    done.ids += [doomed.id for doomed in wanted.backups]


def dependants(backup_id: str, ids: Sequence[str]) -> RejectedError:
    return RejectedError(
        ErrorCode.BACKUP_HAS_DEPENDANTS,
        f"{len(ids)} other backups are built on backup {backup_id}, and can't be restored without it: "
        f"{', '.join(ids[:5])}",
        "Delete them with it by --cascade (or answer the question on a terminal), or leave it.",
    )


def _begin(command: DeleteBackup, wanted: Plan, services: BackupServices) -> Task:
    """In the journal, with its plan, before anything is removed."""
    task_id = f"by hand {uuid.uuid4()}"
    with services.journal.transaction() as transaction:
        transaction.tasks.add(
            NewTask(
                id=task_id,
                kind=DELETE.name,
                backup_id=command.backup_id,
                command=command.model_dump_json(),
                origin=Origin.RUN_ONCE,
                received=services.clock.now(),
                owner=this_process(),
            )
        )
        transaction.tasks.note(task_id, wanted.model_dump_json())
        task = transaction.tasks.find(task_id)
    if task is None:
        msg = "the task was added in this very transaction"
        raise RuntimeError(msg)
    return task


class _Steps:
    """Tells how far a deletion is: by objects, as shares of the bytes that are stored. From any thread."""

    def __init__(self, wanted: Plan, on_progress: Callable[[RestoreProgress], None]) -> None:
        self._objects = sum(doomed.chunks for doomed in wanted.backups)
        self._bytes = sum(doomed.backup.get("stored_size") or 0 for doomed in wanted.backups)
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._gone = 0

    def removed(self) -> None:
        with self._lock:
            self._gone += 1
            share = min(1.0, self._gone / max(1, self._objects))
            self._on_progress(RestoreProgress("deleting", int(share * self._bytes), self._bytes))

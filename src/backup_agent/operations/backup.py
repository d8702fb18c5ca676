"""Takes one backup: admitted, taken, committed by its manifest; or refused or failed, leaving nothing behind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain import lineage, resource
from backup_agent.domain.command import BackupRequest, CreateBackup
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.state import Phase
from backup_agent.errors import (
    BackupAgentError,
    ErrorCode,
    InstanceError,
    InterruptedByOperator,
    MissingError,
    RejectedError,
    TakeAgainError,
)
from backup_agent.operations import admission
from backup_agent.operations.attempt import Taken, take
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.cleanup import leaving_nothing_behind, putting_up_with_locks, remove_objects
from backup_agent.operations.commit import Admitted, commit, describe
from backup_agent.operations.confirmation import confirm
from backup_agent.operations.continuity import check_continuity
from backup_agent.operations.garbage_marker import Beating, marked
from backup_agent.operations.instance_wait import backup_lock
from backup_agent.operations.job import Asked, begin, catalogue_of, check_expiry, let_wait
from backup_agent.operations.recover import recover
from backup_agent.operations.services import CLEANUP_SECONDS, BackupServices
from backup_agent.operations.telling import Teller, tell_completed
from backup_agent.storage.interface import Store
from backup_agent.storage.remembering import remembering
from backup_agent.stream import spool_bounds

log = structlog.get_logger(__name__)


def create_backup(
    command: CreateBackup, asked: Asked, services: BackupServices, cancellation: Cancellation, hurry: Cancellation
) -> dict[str, Any]:
    """The resource of the completed backup. `hurry` cuts the clean-up after a failure short.

    A command whose backup is in the store already is answered with that backup. Raises BackupAgentError; its event
    has then been recorded and its objects removed, unless the backup was never taken on: it is another instance's, or
    its id is in use.
    """
    request = command.backup
    admission.check_addressee(request, services.policy)
    teller = begin(command, asked, services)
    if teller is None:
        return _completed_before(command, services, cancellation)
    try:
        check_expiry(asked, services.clock)
        with backup_lock(services, request.id, cancellation):
            recover(services, cancellation)
            catalogue = catalogue_of(command, services, cancellation)
            catalogue.store.prepare(catalogue.container)
            sealed = _existing(request, catalogue)
            if sealed is None:
                sealed = _make(request, catalogue, services, teller=teller, cancellation=cancellation, hurry=hurry)
    except InterruptedByOperator as error:
        if not let_wait(command, asked, services, teller, error):
            teller.failed(error)
        raise
    except BackupAgentError as error:
        teller.failed(error)
        raise
    except Exception as error:
        teller.failed(
            BackupAgentError(ErrorCode.INTERNAL, f"internal error: {type(error).__name__}", "Please report it.")
        )
        raise
    return tell_completed(teller, sealed, catalogue)


def _make(
    request: BackupRequest,
    catalogue: Catalogue,
    services: BackupServices,
    *,
    teller: Teller,
    cancellation: Cancellation,
    hurry: Cancellation,
) -> SealedManifest:
    """Admitted, taken, committed; or nothing of it stays."""
    admitted = _admit(request, catalogue, services, teller)
    teller.started()
    services = replace(services, connect_store=remembering(services.connect_store))  # what fails is removed by listings
    place = catalogue.place(request.instance_id, request.id)
    cleaner = services.connect_store(hurry, CLEANUP_SECONDS)

    def remains() -> None:
        with services.journal.transaction() as transaction:
            transaction.left_behind(request.id, objects=True)

    with (
        services.guard(cancellation) as unguarded,
        leaving_nothing_behind(cleaner, place, remains),
        marked(
            services.connect_store, cancellation, services.connect_store(hurry, 0), place, services.clock
        ) as beating,
    ):
        if unguarded is not None:
            teller.warn(unguarded)
        taken = _take(place, admitted, services, teller, cancellation, cleaner=cleaner, beating=beating)
        described = describe(request, teller.created, admitted, taken, services)
        teller.progress(Phase.COMMITTING, described.totals.raw_size, described.totals.stored_size)
        confirm(catalogue, described, admitted.parent)
        cancellation.check()
        return commit(described, place, catalogue.store, services.signer)


def _completed_before(command: CreateBackup, services: BackupServices, cancellation: Cancellation) -> dict[str, Any]:
    catalogue = catalogue_of(command, services, cancellation)
    sealed = _existing(command.backup, catalogue)
    if sealed is None:
        raise RejectedError(
            ErrorCode.BACKUP_ID_IN_USE,
            f"backup {command.backup.id} has completed before, and is not in the store any more",
            "Ask for a new backup, with an id of its own.",
        )
    return resource.of_completed(sealed, catalogue.location(command.backup.instance_id, command.backup.id))


def _existing(request: BackupRequest, catalogue: Catalogue) -> SealedManifest | None:
    """The backup itself when the same command has come before; its leftovers, if it failed then, are overwritten."""
    try:
        sealed = catalogue.load(request.instance_id, request.id)
    except MissingError:
        return None
    found = sealed.manifest
    parent_id = found.parent.id if found.parent else None
    same_parent = parent_id is not None if request.incremental else parent_id == request.parent_id
    if (found.name, found.description) != (request.name, request.description) or not same_parent:
        raise RejectedError(
            ErrorCode.BACKUP_ID_IN_USE,
            f"another backup {request.id} exists already: {found.type.value} {found.name!r}",
            "Give the new backup an id of its own.",
        )
    log.info("backup exists already", backup_id=found.id)
    return sealed


def _admit(request: BackupRequest, catalogue: Catalogue, services: BackupServices, teller: Teller) -> Admitted:
    parent = admission.choose_parent(request, catalogue)
    facts = services.instance.facts()
    admission.check_grants(services.instance.missing_grants(replica=facts.replica, kill=services.locks.kills))
    engine = services.engine.version()
    admission.check_engine(engine, facts.version)
    room = spool_bounds.bounds(services.spool, facts.datadir, facts.nontransactional_bytes)
    warnings = [
        admission.check_instance(facts, services.policy),
        admission.check_spool(facts, room, services.policy),
    ]
    if parent is not None:
        check_continuity(
            parent,
            facts,
            engine,
            services.instance.binlog_digest,
            allow_unproven=services.policy.allow_unproven_lineage,
        )
    else:
        teller.bytes_expected = facts.datadir_bytes
    log.info(
        "backup admitted",
        backup_id=request.id,
        parent_id=parent.manifest.id if parent else None,
        datadir_bytes=facts.datadir_bytes,
        nontransactional_bytes=facts.nontransactional_bytes,
        data_at_rest_encryption=facts.data_at_rest_encryption,
    )
    teller.accepted()
    for warning in filter(None, warnings):
        teller.warn(warning)
    return Admitted(facts, engine, parent, room)


def _take(
    place: BackupPlace,
    admitted: Admitted,
    services: BackupServices,
    teller: Teller,
    cancellation: Cancellation,
    *,
    cleaner: Store,
    beating: Beating,
) -> Taken:
    attempt = partial(
        take,
        services,
        place,
        facts=admitted.facts,
        parent=admitted.parent,
        room=admitted.room,
        teller=teller,
        cancellation=cancellation,
    )
    try:
        taken = attempt()
    except TakeAgainError as error:
        teller.warn(f"{error.message}; taking the backup once more")
        taken = None
    if taken is None:  # outside of the except clause: the error's frames hold the first attempt's buffers
        with putting_up_with_locks(place):
            remove_objects(cleaner, place)
        beating.beat()
        taken = attempt()
    changes = lineage.differences(admitted.facts.lineage, taken.lineage)
    if changes:
        raise InstanceError(
            ErrorCode.LINEAGE_CHANGED,
            f"the data directory was exchanged while it was copied: {'; '.join(changes)}",
            "Take a full backup once the server has settled.",
        )
    return taken

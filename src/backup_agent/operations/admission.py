"""Whether a backup may begin: every reason to refuse is found here, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backup_agent.domain.command import BackupRequest
from backup_agent.domain.manifest import SealedManifest
from backup_agent.engine.interface import EngineVersion, series
from backup_agent.errors import (
    EngineError,
    ErrorCode,
    InstanceError,
    IntegrityError,
    MissingError,
    RejectedError,
)
from backup_agent.instance.interface import Facts
from backup_agent.operations.catalogue import Catalogue
from backup_agent.stream.spool_bounds import SpoolBounds

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows. `nontransactional_threshold` in bytes."""

    instance_id: str
    account_id: str
    nontransactional: Literal["allow", "warn", "refuse"]
    nontransactional_threshold: int
    allow_galera: bool
    allow_unproven_lineage: bool


def check_addressee(request: BackupRequest, policy: Policy) -> None:
    """Raises RejectedError (`wrong_instance`)."""
    if (request.instance_id, request.account_id) != (policy.instance_id, policy.account_id):
        raise RejectedError(
            ErrorCode.WRONG_INSTANCE,
            f"the backup is asked of instance {request.instance_id} of account {request.account_id}; "
            f"this agent serves instance {policy.instance_id} of account {policy.account_id}",
            "Send it to the agent of that instance, or mend instance.id and instance.account_id.",
        )


def choose_parent(request: BackupRequest, catalogue: Catalogue) -> SealedManifest | None:
    """The backup to continue, None for a full one.

    Raises RejectedError (`no_parent`, `parent_not_found`, `parent_not_completed`, `parent_foreign`) and IntegrityError
    when the parent's own chain is broken: an incremental of it could never be restored.
    """
    if request.parent_id is not None:
        parent = _named_parent(request, request.parent_id, catalogue)
    elif request.incremental:
        parent = _newest(request, catalogue)
    else:
        return None
    if parent.manifest.account_id != request.account_id:
        raise _foreign(parent.manifest.id, f"account {parent.manifest.account_id}")
    catalogue.chain(parent)
    return parent


def _named_parent(request: BackupRequest, parent_id: str, catalogue: Catalogue) -> SealedManifest:
    try:
        return catalogue.load(request.instance_id, parent_id)
    except MissingError as error:
        owner = catalogue.owner_of_objects(parent_id, request.instance_id)
        if owner is None:
            raise RejectedError(
                ErrorCode.PARENT_NOT_FOUND,
                f"the parent {parent_id} is not in the store",
                "`backup-agent list` shows the backups that can be parents.",
            ) from error
        if owner != request.instance_id:
            raise _foreign(parent_id, f"instance {owner}") from error
        raise RejectedError(
            ErrorCode.PARENT_NOT_COMPLETED,
            f"the parent {parent_id} has no manifest: it failed, or it is still being taken",
            "Choose a completed backup as the parent, or take a full one.",
        ) from error


def _newest(request: BackupRequest, catalogue: Catalogue) -> SealedManifest:
    completed, unreadable = catalogue.backups(request.instance_id)
    if unreadable:
        raise IntegrityError(
            unreadable[0].error.code,
            f"can't tell which backup is the newest: {unreadable[0].error.message}",
            "Name the parent with --parent, or take a full backup.",
        )
    if not completed:
        raise RejectedError(
            ErrorCode.NO_PARENT,
            f"instance {request.instance_id} has no completed backup that an incremental could continue",
            "Take a full backup first: `backup-agent run-once` without --incremental.",
        )
    return catalogue.load(request.instance_id, completed[0].manifest.id)


def _foreign(parent_id: str, owner: str) -> RejectedError:
    return RejectedError(
        ErrorCode.PARENT_FOREIGN,
        f"the parent {parent_id} is a backup of {owner}",
        "An incremental continues a backup of the same instance; take a full one.",
    )


def check_instance(facts: Facts, policy: Policy) -> str | None:
    """Refuses what the operator does not allow; returns a warning for him, if there is one."""
    if facts.galera and not policy.allow_galera:
        raise RejectedError(
            ErrorCode.GALERA_REFUSED,
            "the instance is a Galera node; a backup may take it out of the cluster's flow for a while",
            "Set instance.allow_galera = true if that is acceptable on this node.",
        )
    size = facts.nontransactional_bytes
    if size <= policy.nontransactional_threshold or policy.nontransactional == "allow":
        return None
    what = (
        f"{size / MIB:.0f} MiB of non-transactional tables (MyISAM, Aria, CSV) are write-locked while they are copied"
    )
    if policy.nontransactional == "refuse":
        raise RejectedError(
            ErrorCode.NONTRANSACTIONAL_REFUSED,
            f"{what}, and instance.nontransactional is `refuse`",
            "Convert the tables to InnoDB, or set instance.nontransactional to `warn` or `allow`.",
        )
    return what


def check_spool(facts: Facts, room: SpoolBounds, policy: Policy) -> str | None:
    """A warning when the spool can't take what is copied while tables are locked. (`refuse` allows no such tables.)"""
    size = facts.nontransactional_bytes
    if size <= policy.nontransactional_threshold or room.limit >= size:
        return None
    return (
        f"the spool has room for {room.limit / MIB:.0f} MiB, but {size / MIB:.0f} MiB are copied while tables are "
        "write-locked: a slow store would make the locks last longer; set spool.dir to a disk with more room"
    )


def check_grants(missing: tuple[str, ...]) -> None:
    """Raises InstanceError (`grant_missing`): the engine would notice only after it has copied everything."""
    if missing:
        raise InstanceError(
            ErrorCode.GRANT_MISSING,
            f"the database user lacks {', '.join(missing)}",
            f"GRANT {', '.join(missing)} ON *.* TO the agent's user; an administrator of the database can.",
        )


def check_engine(engine: EngineVersion, server_version: str) -> None:
    """Raises EngineError (`engine_version`)."""
    if engine.series != series(server_version):
        raise EngineError(
            ErrorCode.ENGINE_VERSION,
            f"{engine.name} is of version {engine.version}, the server of {server_version}",
            f"Install the {engine.name} of the server's series {series(server_version)}.",
        )

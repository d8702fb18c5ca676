"""Expires backups: which ones go is decided by domain.retention, how one goes is the deletion's business."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.retention import Candidate, Rules, Verdict, decide
from backup_agent.errors import ErrorCode, RejectedError, StoreError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.delete_by_hand import Deletion, delete_agreed, deleting
from backup_agent.operations.delete_plan import Shelf, shelf
from backup_agent.operations.pins import pins_of
from backup_agent.operations.restore import RestoreProgress
from backup_agent.operations.services import BackupServices, Services

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """A backup and what becomes of it. `manifest` None: it can't be read."""

    verdict: Verdict
    manifest: SealedManifest | None


def judge(rules: Rules, services: BackupServices, cancellation: Cancellation) -> tuple[Judged, ...]:
    """What would become of each backup of the instance, the newest first. Changes nothing.

    Raises RejectedError when no rule is given, IntegrityError when a backup was made by a newer program.
    """
    if not rules.any:
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            "no rule says what is to be kept",
            "Give --keep-fulls, --keep-days, --keep-weekly or --keep-monthly, or set them in [retention].",
        )
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    return _judge(shelf(catalogue, services.policy.instance_id, services.journal), catalogue, rules, services)


def expire(
    agreed: tuple[Judged, ...],
    rules: Rules,
    services: BackupServices,
    cancellation: Cancellation,
    on_progress: Callable[[RestoreProgress], None],
) -> Deletion:
    """Deletes those of `agreed` that are to expire, if that is still so. What has come to light since stays, and what
    the store keeps by Object Lock, of which the log warns.

    Raises as a deletion does.
    """
    ids = _expiring(agreed)
    with deleting("expire", None, ids, services, cancellation) as done:
        catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
        found = shelf(catalogue, services.policy.instance_id, services.journal)
        now = _judge(found, catalogue, rules, services)
        going = _expiring(now) & ids
        for backup_id in _roots(now, going):
            with _putting_up_with_locks(backup_id):
                delete_agreed(backup_id, going, services, cancellation, on_progress, done=done, found=found)
    return done


@contextmanager
def _putting_up_with_locks(backup_id: str) -> Iterator[None]:
    """What the store keeps by Object Lock expires another time; the others go."""
    try:
        yield
    except StoreError as error:
        if error.code is not ErrorCode.OBJECT_LOCKED:
            raise
        log.warning("the store keeps a backup that has expired", backup_id=backup_id, reason=error.message)


def _judge(found: Shelf, catalogue: Catalogue, rules: Rules, services: Services) -> tuple[Judged, ...]:
    pinned = pins_of(catalogue, services.policy.instance_id, [*found.good, *found.bad])
    verdicts = decide(_candidates(found, pinned), rules, services.clock.now())
    return tuple(Judged(verdict, found.good.get(verdict.id)) for verdict in verdicts)


def _candidates(found: Shelf, pinned: Mapping[str, object]) -> list[Candidate]:
    good = [
        Candidate(
            id=one.manifest.id,
            parent_id=one.manifest.parent.id if one.manifest.parent else None,
            finished=datetime.fromisoformat(one.manifest.finished),
            whole=_fits(one, found),
            pinned=one.manifest.id in pinned,
        )
        for one in found.good.values()
    ]
    bad = [Candidate(backup_id, None, None, whole=False, pinned=backup_id in pinned) for backup_id in found.bad]
    return [*good, *bad]


def _fits(one: SealedManifest, found: Shelf) -> bool:
    """Whether its parent, if that is there, is the one it was made from."""
    wanted = one.manifest.parent
    parent = found.good.get(wanted.id) if wanted is not None else None
    return wanted is None or parent is None or parent.checksum == wanted.manifest_sha256


def _expiring(judged: tuple[Judged, ...]) -> frozenset[str]:
    return frozenset(one.verdict.id for one in judged if not one.verdict.kept)


def _roots(judged: tuple[Judged, ...], going: frozenset[str]) -> list[str]:
    """Those that are built on none of the others, the oldest first."""
    roots = []
    for one in reversed(judged):
        parent = one.manifest.manifest.parent if one.manifest is not None else None
        if one.verdict.id in going and (parent is None or parent.id not in going):
            roots.append(one.verdict.id)
    return roots

"""What a deletion would remove: read from the store, before anything is changed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import structlog

from backup_agent.domain import resource
from backup_agent.domain.deletion import Doomed, Plan, with_dependants
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.layout import instance_prefix
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.state import State
from backup_agent.errors import ErrorCode, IntegrityError, MissingError, RejectedError
from backup_agent.journal.interface import Journal
from backup_agent.operations.catalogue import LATEST, Catalogue, Unreadable, check_id
from backup_agent.operations.tasks import known_backup

log = structlog.get_logger(__name__)

_REMEMBERED = 1000
"""Jobs looked at, the newest: listings lag by minutes."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The backups of an instance, as they are now."""

    good: dict[str, SealedManifest]
    bad: dict[str, Unreadable]

    @property
    def parents(self) -> dict[str, str | None]:
        """Of a backup that can't be read, none is known."""
        known = {
            backup_id: one.manifest.parent.id if one.manifest.parent else None for backup_id, one in self.good.items()
        }
        return {**dict.fromkeys(self.bad), **known}


def shelf(catalogue: Catalogue, instance_id: str, journal: Journal) -> Shelf:
    """Those that the store lists, and those that it does not list yet and the journal knows to have completed.

    Raises IntegrityError (`manifest_format`) when a backup was made by a newer program: it may need any other.
    """
    good, bad = catalogue.backups(instance_id)
    listed = {one.manifest.id for one in good} | {one.backup_id for one in bad}
    for job in journal.jobs(_REMEMBERED):
        if job.state is State.COMPLETED and job.id not in listed:
            with suppress(MissingError):  # it was deleted by somebody else
                good.append(catalogue.load(instance_id, job.id).outline())
    newer = next((one for one in bad if one.error.code is ErrorCode.MANIFEST_FORMAT), None)
    if newer is not None:
        raise IntegrityError(
            newer.error.code,
            f"it can't be told what backup {newer.backup_id} is built on: {newer.error.message}",
            newer.error.hint,
        )
    return Shelf({one.manifest.id: one for one in good}, {one.backup_id: one for one in bad})


def resolve(text: str, catalogue: Catalogue, instance_id: str) -> str:
    """The id that `text` means (see catalogue.check_id), also of a backup without a manifest.

    Raises RejectedError (`backup_not_found`, `invalid_request`).
    """
    check_id(text)
    if is_uuid(text):
        return text
    if text == LATEST:
        return catalogue.find(text, instance_id).manifest.id
    names = catalogue.store.children(instance_prefix(catalogue.container, instance_id))
    ids = [name for name in names if is_uuid(name) and name.startswith(text)]
    if len(ids) > 1:
        raise RejectedError(
            ErrorCode.INVALID_REQUEST, f"{text} begins several ids: {', '.join(ids[:5])}", "Give more of the id."
        )
    if not ids:
        raise not_found(text)
    return ids[0]


def plan(backup_id: str, catalogue: Catalogue, instance_id: str, journal: Journal, found: Shelf | None = None) -> Plan:
    """Empty when there is nothing of it in the store. `found` spares looking at all backups again.

    Raises IntegrityError, and what the store raises.
    """
    found = found or shelf(catalogue, instance_id, journal)
    _look_for(backup_id, catalogue, instance_id, found)
    parents = found.parents
    if backup_id not in parents:
        if not catalogue.has_objects(instance_id, backup_id):
            return Plan(container=catalogue.container, backups=())
        known = known_backup(journal.job(backup_id), backup_id, instance_id)
        return Plan(container=catalogue.container, backups=(Doomed(id=backup_id, whole=False, backup=known),))
    unreadable = sorted(found.bad.keys() - {backup_id})
    if unreadable:
        log.warning("backups can't be read, and so it can't be told what they are built on", ids=unreadable)
    ids = with_dependants(backup_id, parents)
    return Plan(
        container=catalogue.container, backups=tuple(_doomed(one, catalogue, instance_id, found) for one in ids)
    )


def _look_for(backup_id: str, catalogue: Catalogue, instance_id: str, found: Shelf) -> None:
    """It may be there although no listing shows it yet."""
    if backup_id in found.good or backup_id in found.bad:
        return
    try:
        found.good[backup_id] = catalogue.load(instance_id, backup_id).outline()
    except MissingError:
        return
    except IntegrityError as error:
        found.bad[backup_id] = Unreadable(backup_id, error)


def not_found(what: str) -> RejectedError:
    return RejectedError(
        ErrorCode.BACKUP_NOT_FOUND,
        f"there is no backup {what}, and nothing is left of one",
        "`backup-agent list` shows the backups there are.",
    )


def _doomed(backup_id: str, catalogue: Catalogue, instance_id: str, found: Shelf) -> Doomed:
    if backup_id not in found.good:
        return Doomed(id=backup_id, backup=resource.of_unknown(backup_id, instance_id))
    sealed = catalogue.load(instance_id, backup_id)  # outlines do not count the chunks
    return Doomed(
        id=backup_id,
        chunks=len(sealed.manifest.chunks),
        suffix=sealed.manifest.chunk_suffix,
        backup=resource.of_completed(sealed, catalogue.location(instance_id, backup_id)),
    )

"""Pins: what they are in the store, and how they are set and taken away."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from backup_agent.domain import pin as pins
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.pin import PIN, PIN_LIMIT, Note, Pin
from backup_agent.errors import BusyError, ErrorCode, MissingError, RejectedError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.operations.services import Services
from backup_agent.storage.interface import Store

_READERS = 4
_REMOVING = ("delete", "expire", "gc")


def key_of(place: BackupPlace) -> str:
    return f"{place.prefix}{PIN}"


def pin_of(store: Store, place: BackupPlace) -> Pin | None:
    try:
        return pins.decode(store.get(key_of(place), limit=PIN_LIMIT))
    except MissingError:
        return None


def pins_of(catalogue: Catalogue, instance_id: str, backup_ids: Iterable[str]) -> dict[str, Pin]:
    """Of those that are pinned."""
    ids = list(backup_ids)
    with ThreadPoolExecutor(_READERS, "pin") as pool:
        found = pool.map(lambda backup_id: pin_of(catalogue.store, catalogue.place(instance_id, backup_id)), ids)
        return {backup_id: pin for backup_id, pin in zip(ids, found, strict=True) if pin is not None}


def set_pin(sealed: SealedManifest, catalogue: Catalogue, services: Services, note: Note | None) -> Pin:
    """Raises RejectedError when the backup is gone, BusyError while somebody removes backups: it may be among them.

    The instance's lock is not taken, since a backup of hours may hold it: the manifest is looked for once more instead.
    """
    _check_nothing_removed(services)
    place = catalogue.place(sealed.manifest.instance_id, sealed.manifest.id)
    pin = _new(services.clock, note)
    if pin_of(catalogue.store, place) is not None:
        catalogue.store.delete(key_of(place))  # keys are written once
    catalogue.store.put(key_of(place), pins.encode(pin))
    try:
        catalogue.load(place.instance_id, place.backup_id)
    except MissingError as error:
        catalogue.store.delete(key_of(place))
        raise RejectedError(
            ErrorCode.BACKUP_NOT_FOUND,
            f"backup {place.backup_id} was deleted in this moment",
            "`backup-agent list` shows the backups there are.",
        ) from error
    return pin


def remove_pin(sealed: SealedManifest, catalogue: Catalogue) -> bool:
    """Whether it was pinned."""
    place = catalogue.place(sealed.manifest.instance_id, sealed.manifest.id)
    found = pin_of(catalogue.store, place) is not None
    catalogue.store.delete(key_of(place))
    return found


def pinned(backup_id: str, pin: Pin) -> RejectedError:
    note = f": {pin.note}" if pin.note else ""
    return RejectedError(
        ErrorCode.BACKUP_PINNED,
        f"backup {backup_id} is pinned{note}",
        f"If it need not stay any more: `backup-agent unpin {backup_id}`.",
    )


def _new(clock: Clock, note: Note | None) -> Pin:
    return Pin(since=timestamp(clock.now()), note=note)


def _check_nothing_removed(services: Services) -> None:
    holder = services.lock_holder()
    if holder is not None and holder.command in _REMOVING:
        raise BusyError(
            ErrorCode.INSTANCE_BUSY,
            f"instance is busy: {holder.command}, pid {holder.pid}",
            "Wait for its end; the backup may be one of those that go.",
        )

"""The results of verifications, beside the backups they are about."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.verification import Verification, decode, encode
from backup_agent.errors import IntegrityError, MissingError
from backup_agent.operations.catalogue import Catalogue

log = structlog.get_logger(__name__)

_LIMIT = 1 << 20
"""Bytes of a result at most; it has some thousand."""
_READERS = 4


def record(catalogue: Catalogue, verification: Verification) -> None:
    place = catalogue.place(verification.instance_id, verification.backup_id)
    catalogue.store.put(place.verification(verification.time), encode(verification))


def newest(catalogue: Catalogue, sealed: SealedManifest) -> Verification | None:
    """The last one of this very manifest; None when there is none.

    A result that can't be trusted, or is about another manifest of that id, is none: the one before it counts. One
    listing, and one object where there is a result.
    """
    manifest = sealed.manifest
    place = catalogue.place(manifest.instance_id, manifest.id)
    for key in sorted((stored.key for stored in catalogue.store.list(place.verifications)), reverse=True):
        found = _read(catalogue, place, key)
        if found is not None and found.manifest_sha256 == sealed.checksum:
            return found
    return None


def newest_of(catalogue: Catalogue, backups: Iterable[SealedManifest]) -> dict[str, Verification]:
    """The same for many backups, by their ids; those never verified are left out."""
    with ThreadPoolExecutor(_READERS, "verification") as pool:
        found = pool.map(lambda sealed: newest(catalogue, sealed), backups)
        return {verification.backup_id: verification for verification in found if verification is not None}


def _read(catalogue: Catalogue, place: BackupPlace, key: str) -> Verification | None:
    try:
        return decode(catalogue.store.get(key, limit=_LIMIT), backup_id=place.backup_id)
    except MissingError:
        return None
    except IntegrityError as error:
        log.warning("the result of a verification is left out", key=key, code=error.code, reason=error.message)
        return None

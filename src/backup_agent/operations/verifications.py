"""The results of verifications, beside the backups they are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.verification import Level, Verification, decode, encode
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
    """The last one of this very manifest; None when there is none. One listing, and one object where there is one."""
    return next(_newest_first(catalogue, sealed), None)


def told(catalogue: Catalogue, sealed: SealedManifest) -> tuple[Verification, ...]:
    """What is to be known of this very manifest, newest first: the last one, and where that only compared digests, and
    they agreed, also the last one that restored. Reads an object for each one in between.
    """
    found: list[Verification] = []
    for one in _newest_first(catalogue, sealed):
        restored = one.level is Level.RESTORE
        if restored or not found:
            found.append(one)
        if restored or not found[0].passed:
            break
    return tuple(found)


def told_of(catalogue: Catalogue, backups: Iterable[SealedManifest]) -> dict[str, tuple[Verification, ...]]:
    """The same for many backups, by their ids; those never verified are left out."""
    with ThreadPoolExecutor(_READERS, "verification") as pool:
        found = pool.map(lambda sealed: told(catalogue, sealed), backups)
        return {results[0].backup_id: results for results in found if results}


def _newest_first(catalogue: Catalogue, sealed: SealedManifest) -> Iterator[Verification]:
    """A result that can't be trusted, or is about another manifest of that id, is none."""
    manifest = sealed.manifest
    place = catalogue.place(manifest.instance_id, manifest.id)
    for key in sorted((stored.key for stored in catalogue.store.list(place.verifications)), reverse=True):
        found = _read(catalogue, place, key)
        if found is not None and found.manifest_sha256 == sealed.checksum:
            yield found


def _read(catalogue: Catalogue, place: BackupPlace, key: str) -> Verification | None:
    try:
        return decode(catalogue.store.get(key, limit=_LIMIT), backup_id=place.backup_id)
    except MissingError:
        return None
    except IntegrityError as error:
        log.warning("the result of a verification is left out", key=key, code=error.code, reason=error.message)
        return None

"""The last look at the store before a backup is committed: are its chunks, and its parent, still there?"""

from __future__ import annotations

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Manifest, SealedManifest
from backup_agent.errors import ErrorCode, IntegrityError, MissingError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.storage.interface import Store


def confirm(catalogue: Catalogue, described: Manifest, parent: SealedManifest | None) -> None:
    """Each chunk was confirmed when it was put; in the hours since, a container may have been emptied, a disk
    exchanged, or the parent deleted.

    Raises IntegrityError (`chunk_missing`, `parent_changed`) and what the store raises.
    """
    if parent is not None:
        found = parent.manifest
        try:
            again = catalogue.load(found.instance_id, found.id)
        except MissingError as error:
            raise _parent_gone(found.id) from error
        if again.checksum != parent.checksum:
            raise _parent_gone(found.id)
        _confirm_chunks(catalogue.store, catalogue.place(found.instance_id, found.id), found)
    _confirm_chunks(catalogue.store, catalogue.place(described.instance_id, described.id), described)


def _confirm_chunks(store: Store, place: BackupPlace, backup: Manifest) -> None:
    """One listing; what it does not show as it was put is read, because listings may lag."""
    listed = {stored.key: stored.size for stored in store.list(place.prefix)}
    for number, chunk in enumerate(backup.chunks):
        key = place.chunk(number, backup.chunk_suffix)
        if listed.get(key) != chunk.stored_size and not _is_there(store, key, chunk.stored_size):
            raise IntegrityError(
                ErrorCode.CHUNK_MISSING,
                f"{key} was stored, but is not in the store any more",
                "Find out who removes objects there while a backup is taken, then take it again.",
            )


def _parent_gone(parent_id: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.PARENT_CHANGED,
        f"the parent {parent_id} was deleted or changed while the backup was taken",
        "Take a full backup, or an incremental of a backup that stays.",
    )


def _is_there(store: Store, key: str, size: int) -> bool:
    try:
        return len(store.get(key, limit=size + 1)) == size
    except MissingError:
        return False

"""From a backup back to its base, link by link."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from backup_agent.domain import chain
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import BackupType, LsnRange, Manifest, Parent, SealedManifest, encode, seal
from backup_agent.errors import ErrorCode, IntegrityError
from tests.unit.manifests import manifest_of

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"


class Shelf:
    """Backups that can be fetched, each made on top of the one before."""

    def __init__(self) -> None:
        self.backups: dict[str, SealedManifest] = {}

    def add(self, parent: SealedManifest | None, **fields: Any) -> SealedManifest:
        start = parent.manifest.lsn.to_lsn if parent else 0
        made: dict[str, Any] = {
            "type": BackupType.INCREMENTAL if parent else BackupType.FULL,
            "parent": Parent(id=parent.manifest.id, manifest_sha256=parent.checksum) if parent else None,
            "lsn": LsnRange(from_lsn=start, to_lsn=start + 100, last_lsn=start + 100),
        }
        manifest = manifest_of(BackupPlace("c", INSTANCE, str(uuid.uuid4())), **{**made, **fields})
        return self.put(manifest)

    def put(self, manifest: Manifest) -> SealedManifest:
        sealed = SealedManifest(manifest, seal(encode(manifest)))
        self.backups[manifest.id] = sealed
        return sealed

    def fetch(self, backup_id: str) -> SealedManifest:
        return self.backups[backup_id]


def test_a_full_backup_is_a_chain_of_its_own() -> None:
    shelf = Shelf()
    full = shelf.add(None)
    found = chain.resolve(full, shelf.fetch)
    assert (found.base, found.tip, len(found), found.incrementals) == (full.manifest, full.manifest, 1, ())


def test_a_chain_goes_from_the_base_to_the_tip() -> None:
    shelf = Shelf()
    links = [shelf.add(None)]
    for _ in range(50):
        links.append(shelf.add(links[-1]))
    found = chain.resolve(links[-1], shelf.fetch)
    assert [link.id for link in found] == [link.manifest.id for link in links]
    assert (found.base, found.tip) == (links[0].manifest, links[-1].manifest)
    assert len(found.incrementals) == 50


def test_siblings_share_their_base() -> None:
    shelf = Shelf()
    full = shelf.add(None)
    one, other = shelf.add(full), shelf.add(full)
    assert [link.id for link in chain.resolve(other, shelf.fetch)] == [full.manifest.id, other.manifest.id]
    assert one.manifest.id not in [link.id for link in chain.resolve(other, shelf.fetch)]


def test_an_incremental_of_nothing_new_fits() -> None:
    """Its to_lsn may equal its from_lsn, several times in a row."""
    shelf = Shelf()
    link = shelf.add(None)
    for _ in range(3):
        at = link.manifest.lsn.to_lsn
        link = shelf.add(link, lsn=LsnRange(from_lsn=at, to_lsn=at, last_lsn=at))
    assert len(chain.resolve(link, shelf.fetch)) == 4


def renamed(shelf: Shelf, full: SealedManifest) -> None:
    shelf.put(full.manifest.model_copy(update={"name": "another"}))


def of_another_instance(shelf: Shelf, full: SealedManifest) -> None:
    other = full.manifest.model_copy(update={"instance_id": "00000000-0000-4000-8000-000000000000"})
    shelf.backups[full.manifest.id] = SealedManifest(other, full.checksum)


def with_another_end(shelf: Shelf, full: SealedManifest) -> None:
    moved = full.manifest.model_copy(update={"lsn": LsnRange(from_lsn=0, to_lsn=7, last_lsn=7)})
    shelf.backups[full.manifest.id] = SealedManifest(moved, full.checksum)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed, "was changed since"),
        (of_another_instance, "its parent is a backup of another instance"),
        (with_another_end, "it starts at LSN 100, its parent ends at 7"),
    ],
)
def test_a_link_that_does_not_fit_breaks_the_chain(change: Callable[[Shelf, SealedManifest], None], words: str) -> None:
    shelf = Shelf()
    full = shelf.add(None)
    tip = shelf.add(shelf.add(full))
    change(shelf, full)
    with pytest.raises(IntegrityError, match=words) as caught:
        chain.resolve(tip, shelf.fetch)
    assert caught.value.code is ErrorCode.PARENT_CHANGED


def test_a_loop_is_noticed() -> None:
    shelf = Shelf()
    full = shelf.add(None)
    child = shelf.add(full)
    circular = full.manifest.model_copy(update={"parent": Parent(id=child.manifest.id, manifest_sha256=child.checksum)})
    shelf.backups[full.manifest.id] = SealedManifest(circular, full.checksum)
    with pytest.raises(IntegrityError, match="can't be joined to its parent") as caught:
        chain.resolve(child, shelf.fetch)
    assert caught.value.code is ErrorCode.PARENT_CHANGED


def test_a_full_backup_has_no_parent() -> None:
    shelf = Shelf()
    full = shelf.add(None)
    odd = shelf.add(full, type=BackupType.FULL)
    with pytest.raises(IntegrityError, match="it is a full backup with a parent"):
        chain.resolve(odd, shelf.fetch)

"""What the journal remembers of a backup, held against what the store shows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Manifest, encode
from backup_agent.errors import ErrorCode, IntegrityError, JournalError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.trust import CompletedEvents, Remembered, Trust, memory_of, no_memory
from backup_agent.storage.local import LocalStore
from tests.unit.manifests import manifest_of

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path, create=True)
    store.prepare("c")
    return store


def put(store: LocalStore, backup_id: str = BACKUP, **fields: object) -> Manifest:
    place = BackupPlace("c", INSTANCE, backup_id)
    manifest = manifest_of(place, **fields)
    store.put(place.manifest, encode(manifest))
    return manifest


def remembering(store: LocalStore, *backup_ids: str) -> Trust:
    """What was taken is what the store shows now."""
    catalogue = Catalogue(store, "c", Trust(None, no_memory))
    entries = {
        one: Remembered(one, "n", catalogue.load(INSTANCE, one).checksum, catalogue.location(INSTANCE, one))
        for one in backup_ids
    }
    return Trust(None, lambda: entries)


def test_a_backup_is_what_the_journal_remembers(store: LocalStore) -> None:
    put(store)
    assert Catalogue(store, "c", remembering(store, BACKUP)).load(INSTANCE, BACKUP).manifest.id == BACKUP


def test_another_one_in_its_place_is_refused(store: LocalStore) -> None:
    put(store)
    trust = remembering(store, BACKUP)
    put(store, name="another")
    catalogue = Catalogue(store, "c", trust)
    with pytest.raises(IntegrityError, match="is not the one that this host took") as caught:
        catalogue.find(BACKUP, INSTANCE)
    assert caught.value.code is ErrorCode.BACKUP_REPLAYED
    good, bad = catalogue.backups(INSTANCE)
    assert (good, [one.backup_id for one in bad]) == ([], [BACKUP])


def test_one_that_is_gone_is_told_of_by_name(store: LocalStore) -> None:
    other = str(uuid.uuid4())
    put(store)
    put(store, other)
    trust = remembering(store, BACKUP, other)
    store.delete(BackupPlace("c", INSTANCE, BACKUP).manifest)
    catalogue = Catalogue(store, "c", trust)
    with pytest.raises(IntegrityError) as caught:
        catalogue.find(BACKUP, INSTANCE)
    assert caught.value.code is ErrorCode.BACKUP_VANISHED
    assert [entry.id for entry in catalogue.vanished(INSTANCE, {other})] == [BACKUP]


def test_one_that_was_taken_into_another_store_is_not_missed_in_this_one(store: LocalStore) -> None:
    entry = Remembered(BACKUP, "n", "0" * 64, f"s3://elsewhere/c/{INSTANCE}/{BACKUP}/manifest.json")
    assert Catalogue(store, "c", Trust(None, lambda: {BACKUP: entry})).vanished(INSTANCE, set()) == []


class Broken:
    def completed(self) -> Sequence[bytes]:
        raise JournalError(ErrorCode.JOURNAL_CORRUPT, "it is damaged", "")


class Strange:
    def completed(self) -> Sequence[bytes]:
        return [b"{}", b"\xff", b'{"data": {"percent": 100, "bytes_read": 1, "bytes_stored": 1}}']


@pytest.mark.parametrize("journal", [Broken(), Strange()])
def test_a_journal_that_cannot_be_asked_remembers_nothing_and_is_told_of(
    journal: CompletedEvents, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memory_of(journal)() == {}
    assert "can't be" in capsys.readouterr().out


class Unlucky(LocalStore):
    """The backup is deleted just after its manifest was read."""

    def get(self, key: str, *, limit: int) -> bytes:
        data = super().get(key, limit=limit)
        for path in list((self._root / key).parent.iterdir()):
            path.unlink()
        return data


class Strict:
    def check(self, backup_id: str, manifest: bytes, signature: bytes | None) -> None:
        raise IntegrityError(ErrorCode.SIGNATURE_MISSING, f"{backup_id} {len(manifest)} {signature!r}", "")


def test_a_backup_that_is_deleted_while_it_is_listed_is_not_taken_for_an_unsigned_one(tmp_path: Path) -> None:
    store = Unlucky(tmp_path, create=True)
    store.prepare("c")
    put(store)
    assert Catalogue(store, "c", Trust(Strict(), no_memory)).backups(INSTANCE) == ([], [])

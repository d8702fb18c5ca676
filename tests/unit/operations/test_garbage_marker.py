"""The signs of life of an attempt: one at a time, none at its end, and read for what they are."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import BackupPlace
from backup_agent.errors import ErrorCode, StoreError
from backup_agent.operations import garbage_marker
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.garbage_marker import Beating, marked, marker_keys, markers
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from tests.faults.waiting import until

PLACE = BackupPlace("z", "44b277eb-39be-4921-be31-3d61b43651d7", "61f12fef-edb1-4561-8122-e7c00ef26a82")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = LocalStore(tmp_path / "store", create=True)
    store.prepare("z")
    return store


def names(store: Store) -> list[str]:
    return [key.removeprefix(PLACE.prefix) for key in marker_keys(store, PLACE)]


def test_there_is_one_sign_at_a_time_and_none_at_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_marker, "BEAT_SECONDS", 0.001)
    with marked(lambda *_: store, Cancellation(), store, PLACE, SystemClock()):
        until(lambda: names(store)[-1:] > ["attempt-00000003.json"], "some signs")
        assert len(names(store)) <= 2
        (marker, *_) = [one for one in markers(store, marker_keys(store, PLACE)) if one is not None]
        assert not marker.dead()
        assert abs(marker.age(datetime.now(UTC))) < timedelta(minutes=5)
    assert names(store) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "attempt-marker"]


def test_what_ends_with_an_error_leaves_its_sign_to_the_clean_up(store: Store) -> None:
    with pytest.raises(RuntimeError), marked(lambda *_: store, Cancellation(), store, PLACE, SystemClock()):
        raise RuntimeError
    assert names(store) == ["attempt-00000001.json"]


class Failing(StoreInFront):
    fails = False

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        if self.fails:
            raise StoreError(ErrorCode.STORE_FULL, "full", "Make room.")
        super().put(key, body, sha256=sha256, once=once)

    def delete(self, key: str) -> None:
        if self.fails:
            raise StoreError(ErrorCode.STORE_DENIED, "no", "Ask.")
        super().delete(key)


def test_an_attempt_does_not_begin_without_a_sign_and_does_not_end_for_want_of_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(store)
    failing.fails = True
    with pytest.raises(StoreError), marked(lambda *_: failing, Cancellation(), store, PLACE, SystemClock()):
        raise AssertionError
    monkeypatch.setattr(garbage_marker, "BEAT_SECONDS", 0.001)
    failing.fails = False
    with marked(lambda *_: failing, Cancellation(), store, PLACE, SystemClock()):
        failing.fails = True
        until(lambda: threading.active_count() > 1, "the beating")
    assert names(store) == []


def test_a_sign_that_could_not_be_taken_away_goes_with_the_next_one(store: Store) -> None:
    failing = Failing(store)
    beating = Beating(failing, PLACE, SystemClock())
    beating.beat()
    failing.fails = True
    with pytest.raises(StoreError):
        beating.beat()
    failing.fails = False
    beating.beat()
    assert names(store) == ["attempt-00000003.json"]
    beating.end(store)
    assert names(store) == []

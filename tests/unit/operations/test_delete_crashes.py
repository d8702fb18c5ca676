"""A deletion that ends at each of its requests to the store: what is left is restorable, and a rerun does the rest."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import BackupPlace
from backup_agent.errors import BackupAgentError, ErrorCode, RejectedError, StoreError
from backup_agent.operations import delete_by_hand as by_hand
from backup_agent.operations.delete_by_hand import Deletion, delete_by_hand, foresee
from backup_agent.operations.delete_objects import Removed, Remover
from backup_agent.operations.garbage import Search, collect
from backup_agent.operations.services import BackupServices
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store, StoredObject
from tests.faults.traces import contents
from tests.shelves import Shelf, stored, whole
from tests.unit.operations.wired import DEAD, Desk


class Kill(BaseException):
    """The process ends here."""


class Deadly(StoreInFront):
    """Kills before its request `number` to delete, counted from 0, and at all later ones."""

    def __init__(self, store: Store, number: int) -> None:
        super().__init__(store)
        self._left = number
        self._lock = threading.Lock()

    def delete(self, key: str) -> None:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise Kill
        super().delete(key)


def run(services: BackupServices, backup_id: str) -> Deletion:
    return delete_by_hand(foresee(backup_id, services, Cancellation()), services, Cancellation(), lambda _: None)


def test_killed_before_each_request_a_rerun_does_the_rest(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {one: contents(shelf.agent.directory(one)) for one in shelf.second_chain}
    killed = 0
    for number in itertools.count():
        desk = Desk(shelf, tmp_path / str(number))
        with monkeypatch.context() as patch, suppress(Kill):
            patch.setattr(by_hand, "this_process", lambda: DEAD)
            run(desk.with_store(partial(Deadly, number=number)), shelf.base)
            break
        killed += 1
        assert whole(desk.agent) >= shelf.second_chain
        done = run(desk.services, shelf.base)
        assert shelf.base in done.ids
        assert stored(desk.agent) == shelf.second_chain
        assert {one: contents(desk.agent.directory(one)) for one in shelf.second_chain} == others
        assert sorted(desk.outbox) == sorted(("backup.deleted", one) for one in shelf.first_chain)
        assert desk.journal.tasks() == []
        desk.journal.close()
    assert killed == 16, "four backups, a manifest and three chunks of each"


def test_a_deletion_that_the_store_refuses_is_told_as_failed_and_can_be_done_again(desk: Desk) -> None:
    class Refusing(StoreInFront):
        def delete(self, key: str) -> None:
            if key.endswith("/chunk-00000001.zst"):
                raise StoreError(ErrorCode.STORE_DENIED, "no", "Ask for the permission.")
            super().delete(key)

    with pytest.raises(StoreError):
        run(desk.with_store(Refusing), desk.shelf.child)
    assert desk.outbox == [("backup.delete_failed", desk.shelf.child)]
    assert desk.heard.events[0].status == "DELETE_FAILED"
    assert desk.shelf.grandchild not in whole(desk.agent)
    assert desk.shelf.child in whole(desk.agent), "the deepest goes first"
    run(desk.services, desk.shelf.grandchild)
    run(desk.services, desk.shelf.child)
    assert stored(desk.agent) == {desk.shelf.base, desk.shelf.twin} | desk.shelf.second_chain


def test_a_pin_that_comes_in_the_middle_keeps_its_backup_and_what_it_is_built_on(desk: Desk) -> None:
    class Pinning(StoreInFront):
        def delete(self, key: str) -> None:
            if f"{desk.shelf.grandchild}/manifest" in key:
                (desk.agent.directory(desk.shelf.child) / "pin").write_text("{}")
            super().delete(key)

    with pytest.raises(BackupAgentError, match="is pinned; what is built on it may be gone") as caught:
        run(desk.with_store(Pinning), desk.shelf.child)
    assert caught.value.code is ErrorCode.BACKUP_PINNED
    assert not isinstance(caught.value, RejectedError)
    assert desk.outbox == [("backup.deleted", desk.shelf.grandchild), ("backup.delete_failed", desk.shelf.child)]
    assert desk.shelf.child in whole(desk.agent)


def test_what_is_left_is_looked_for_where_it_was_when_the_deletion_began(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, suppress(Kill):
        patch.setattr(by_hand, "this_process", lambda: DEAD)
        run(desk.with_store(partial(Deadly, number=2)), desk.shelf.twin)
    desk.services = replace(desk.services, container="another")
    collect(Search(timedelta(hours=1)), desk.services, Cancellation(), lambda _: None)
    assert desk.shelf.twin not in stored(desk.agent)


def test_what_was_agreed_to_is_not_more_than_what_is_there_by_now(desk: Desk) -> None:
    foreseen = foresee(desk.shelf.twin, desk.services, Cancellation())
    more = foresee(desk.shelf.base, desk.services, Cancellation())
    less = type(more)(more.backup_id, foreseen.plan)
    with pytest.raises(RejectedError) as caught:
        delete_by_hand(less, desk.services, Cancellation(), lambda _: None)
    assert caught.value.code is ErrorCode.BACKUP_HAS_DEPENDANTS
    assert desk.outbox == []


class Lagging(StoreInFront):
    """Lists what was deleted for some more listings, and does not yet list one chunk."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._before: list[StoredObject] = []
        self._listings = 0

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._listings += 1
        self._before = self._before or list(super().list(prefix))
        return iter([one for one in self._before if not one.key.endswith("/chunk-00000002.zst")])


def remover(store: Store) -> Remover:
    return Remover(store, Cancellation())


def test_a_listing_that_lags_behind_is_not_believed_either_way(desk: Desk) -> None:
    place = BackupPlace("z_CLOUDDB_BACKUPS", desk.agent.instance_id, desk.shelf.twin)
    store = Lagging(desk.services.connect_store(Cancellation(), None))
    expected = frozenset(place.chunk(number, ".zst") for number in range(3))
    assert remover(store).remove(place, expected).objects == 3
    assert not desk.agent.directory(desk.shelf.twin).exists()


class Stubborn(StoreInFront):
    """Forgets `times` requests to delete a chunk, and says nothing."""

    def __init__(self, store: Store, times: int) -> None:
        super().__init__(store)
        self._times = times

    def delete(self, key: str) -> None:
        if key.endswith("/chunk-00000001.zst") and self._times > 0:
            self._times -= 1
            return
        super().delete(key)


def test_what_did_not_go_is_deleted_again_and_in_the_end_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_agent.operations.delete_objects._PAUSE", 0.001)
    store = desk.services.connect_store(Cancellation(), None)
    place = BackupPlace("z_CLOUDDB_BACKUPS", desk.agent.instance_id, desk.shelf.twin)
    with pytest.raises(StoreError, match="still has it"):
        remover(Stubborn(store, 100)).remove(place)
    assert remover(Stubborn(store, 3)).remove(place) == Removed(1, 1000)
    assert not desk.agent.directory(desk.shelf.twin).exists()

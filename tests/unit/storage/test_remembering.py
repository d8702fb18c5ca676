"""What was put is listed at once, also by a store whose listings lag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backup_agent.cancellation import Cancellation
from backup_agent.storage.interface import Store, StoredObject
from backup_agent.storage.local import LocalStore
from backup_agent.storage.remembering import remembering


class Lagging(LocalStore):
    """Lists what was there when it was made."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, create=True)
        self._listed = list(super().list(""))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return (stored for stored in self._listed if stored.key.startswith(prefix))


def lagging(directory: Path) -> tuple[Store, Store]:
    """Two ways to one store, as two attempts and their clean-up have."""
    connect = remembering(lambda *_: Lagging(directory))
    return connect(Cancellation(), None), connect(Cancellation(), 60)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


def test_what_one_puts_the_other_lists_once_and_in_order(tmp_path: Path) -> None:
    LocalStore(tmp_path, create=True).put("c/b", b"old")
    one, other = lagging(tmp_path)
    one.put("c/a", b"1")
    one.put("c/b", b"new")
    one.put("d/a", b"2")

    assert keys(other, "c/") == ["c/a", "c/b"]
    assert keys(other) == ["c/a", "c/b", "d/a"]


def test_what_was_deleted_is_not_remembered(tmp_path: Path) -> None:
    one, other = lagging(tmp_path)
    one.put("c/a", b"1")
    other.delete("c/a")

    assert keys(one) == []

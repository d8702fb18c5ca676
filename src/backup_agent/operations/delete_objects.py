"""Removes the objects of one backup, the manifest first, and sees that they are gone. Which backup: the caller knows.

What lies there and is not ours stays. A store's listing may lag behind: an object is there if it can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.objects import ObjectKind, kind_of
from backup_agent.errors import ErrorCode, MissingError, StoreError
from backup_agent.storage.interface import Store

log = structlog.get_logger(__name__)

_REMOVERS = 8
_LOOKS = 8
"""How often it is looked whether all is gone."""
_PAUSE = 0.25
"""Seconds before the second look; each further pause is twice as long."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone: objects, and bytes as far as listings told of them."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.objects + other.objects, self.bytes + other.bytes)


class Remover:
    """For one deletion. `on_removed` is called after each object, from several threads."""

    def __init__(self, store: Store, cancellation: Cancellation, on_removed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._cancellation = cancellation
        self._on_removed = on_removed

    def remove(self, place: BackupPlace, expected: frozenset[str] = frozenset()) -> Removed:
        """Every object of ours below `place`, and those of the keys `expected`, which a listing may not show.

        Idempotent. Raises StoreError, also when something does not go (`store_failed`).
        """
        self._store.delete(place.manifest)
        sizes = dict.fromkeys(expected, 0) | self._listed(place)
        sizes.pop(place.manifest, None)
        by_kind: dict[ObjectKind, list[str]] = {}
        for key in sizes:
            kind = kind_of(key.removeprefix(place.prefix))
            if kind is not None:
                by_kind.setdefault(kind, []).append(key)
        for _, keys in sorted(by_kind.items()):
            self._delete(keys)
        self._see_it_gone(place)
        ours = [key for keys in by_kind.values() for key in keys]
        return Removed(len(ours), sum(sizes[key] for key in ours))

    def _listed(self, place: BackupPlace) -> dict[str, int]:
        sizes, others = {}, []
        for stored in self._store.list(place.prefix):
            if kind_of(stored.key.removeprefix(place.prefix)) is None:
                others.append(stored.key)
            else:
                sizes[stored.key] = stored.size
        if others:
            log.warning("objects that are not ours stay", prefix=place.prefix, count=len(others), first=others[0])
        return sizes

    def _delete(self, keys: list[str]) -> None:
        with ThreadPoolExecutor(_REMOVERS, "remove") as pool:
            for done in [pool.submit(self._delete_one, key) for key in keys]:
                done.result()

    def _delete_one(self, key: str) -> None:
        self._cancellation.check()
        self._store.delete(key)
        self._on_removed()

    def _see_it_gone(self, place: BackupPlace) -> None:
        pause = _PAUSE
        left: list[str] = []
        for look in range(_LOOKS):
            if look:
                self._cancellation.wait(pause)
                pause *= 2
            left = [key for key in {place.manifest, *self._listed(place)} if self._is_there(key)]
            if not left:
                return
            self._delete(left)
        raise StoreError(
            ErrorCode.STORE_FAILED,
            f"{self._store.url} was asked to delete {left[0]}, said that it did, and still has it",
            "See whether the store keeps objects (a retention, versions, a delay), then delete the backup again.",
        )

    def _is_there(self, key: str) -> bool:
        self._cancellation.check()
        try:
            self._store.get(key, limit=1)
        except MissingError:
            return False
        return True

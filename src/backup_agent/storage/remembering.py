"""Listings that hold what was put here a moment ago, where a store's own may lag behind: Swift's do.

Around a store, with the same interface. What others put or delete is seen as late as the store shows it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from heapq import merge

from backup_agent.cancellation import Cancellation
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store, StoredObject

Connect = Callable[[Cancellation, float | None], Store]


def remembering(connect: Connect) -> Connect:
    """All stores that this connects remember together."""
    memory = _Memory()
    return lambda cancellation, give_up_after: RememberingStore(connect(cancellation, give_up_after), memory)


class _Memory:
    """The objects that were put and not deleted since. Safe from any thread."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, key: str, size: int) -> None:
        with self._lock:
            self._sizes[key] = size

    def forget(self, key: str) -> None:
        with self._lock:
            self._sizes.pop(key, None)

    def below(self, prefix: str) -> list[StoredObject]:
        with self._lock:
            return [StoredObject(key, size) for key, size in sorted(self._sizes.items()) if key.startswith(prefix)]


class RememberingStore(StoreInFront):
    """Implements `Store`."""

    def __init__(self, store: Store, memory: _Memory) -> None:
        super().__init__(store)
        self._memory = memory

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        self._memory.add(key, len(body))  # before: a put that failed may have been carried out
        self._store.put(key, body, sha256=sha256, once=once)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """An object whose put has failed is among them."""
        last = None
        for stored in merge(self._store.list(prefix), self._memory.below(prefix), key=lambda stored: stored.key):
            if stored.key != last:
                yield stored
            last = stored.key

    def delete(self, key: str) -> None:
        self._store.delete(key)
        self._memory.forget(key)

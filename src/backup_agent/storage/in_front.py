"""A store in front of another one: what wrappers begin with that change little of it."""

from __future__ import annotations

from collections.abc import Iterator

from backup_agent.storage.interface import Store, StoredObject


class StoreInFront:
    """Implements `Store` by another one; whoever inherits overrides what is to be different, or which one is asked."""

    def __init__(self, store: Store) -> None:
        self._behind = store

    @property
    def _store(self) -> Store:
        return self._behind

    @property
    def url(self) -> str:
        return self._store.url

    def prepare(self, container: str) -> None:
        self._store.prepare(container)

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        self._store.put(key, body, sha256=sha256, once=once)

    def get(self, key: str, *, limit: int) -> bytes:
        return self._store.get(key, limit=limit)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list(prefix)

    def children(self, prefix: str) -> Iterator[str]:
        return self._store.children(prefix)

    def delete(self, key: str) -> None:
        self._store.delete(key)

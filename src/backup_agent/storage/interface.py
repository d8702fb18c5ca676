"""What a store is. Every store and every wrapper passes tests/contract/test_store.py.

A store keeps whole objects under keys such as `z_CLOUDDB_BACKUPS/<instance>/<backup>/chunk-00000000.zst`. All methods
may be called from several threads at once. None of them retries: that is `storage.retry`'s work, which wraps a store
and has the same interface. Errors are StoreError (permanent: `store_denied`, `store_full`, `store_missing`,
`store_failed`, `object_exists`, `object_locked`, `object_archived`), MissingError (`object_missing`) and
TransientStoreError (`store_unreachable`, `upload_corrupt`); no foreign exception leaves a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An entry of a listing; `size` in bytes."""

    key: str
    size: int
    modified: datetime | None = field(default=None, compare=False)
    """When it was put, by the store's clock and with its zone; None where the store's listings do not say."""


class Store(Protocol):
    @property
    def url(self) -> str:
        """Where the store is, for logs and `locationRef`, without credentials and without a slash at the end."""
        ...

    def prepare(self, container: str) -> None:
        """Makes sure that objects can be put below `container`, making it (and the bucket) where that is allowed.

        Idempotent. Raises `store_missing` when it does not exist and may not be made.
        """
        ...

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        """Stores `body` under `key`, whole or not at all: a reader never sees a part of it, also after a crash.

        Returns only when the store has confirmed that it holds these very bytes (by a digest it computed itself, or
        by fsync). Putting the same bytes again is harmless. `sha256`, in hex, is the body's, for a caller who knows it:
        it need not be computed again. A store may do without.

        `once` says that the object is final. Where the store can tell, another body that lies there is left alone
        (`object_exists`); what the store is configured to do to backups, such as retention, it does to these objects.
        """
        ...

    def get(self, key: str, *, limit: int) -> bytes:
        """The object's bytes, whole: objects are at most a chunk, which is held in memory anyway, and so a retry covers
        the transfer too. Reads no more than `limit` bytes: of a larger object, the first `limit` are returned, and the
        caller, who knows the right size, notices.

        Raises MissingError; TransientStoreError when the body ends before the length the store announced, is reset, or
        no byte arrives within the read time-out: never a short result.
        """
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every whole object whose key starts with `prefix`, in the order of the keys, however many there are."""
        ...

    def children(self, prefix: str) -> Iterator[str]:
        """The names between `prefix` (ending in a slash) and the next slash, each once, in order: instances of a
        container, backups of an instance. Does not walk through the objects below them.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes the object; idempotent: an absent one is no error."""
        ...


def md5_hex(body: bytes | bytearray) -> str:
    """What S3 and Swift call an ETag; a transport check, not a security measure."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()

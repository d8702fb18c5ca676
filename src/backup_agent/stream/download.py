"""A backup's chunks from the store, in order: fetched and unsealed ahead in parallel, each verified before use."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Manifest
from backup_agent.errors import ErrorCode, IntegrityError, MissingError
from backup_agent.storage.interface import Store
from backup_agent.stream.seal import unseal
from backup_agent.stream.settings import StreamSettings


def read_stream(store: Store, place: BackupPlace, manifest: Manifest, settings: StreamSettings) -> Iterator[bytes]:
    """The raw stream, chunk by chunk.

    Each chunk is verified (size, SHA-256 of the stored bytes, decompression, raw size) before it is given out; the
    SHA-256 of the whole is checked after the last one, so what was made of the chunks may be used only when this ends
    without an error. Raises IntegrityError (`chunk_corrupt`, `chunk_missing`) and what the store raises.
    """
    digest = hashlib.sha256()
    largest = max(chunk.raw_size + chunk.stored_size for chunk in manifest.chunks)
    in_use = max(chunk.raw_size for chunk in manifest.chunks)
    ahead = max(1, min(settings.transfers, (settings.memory - in_use) // max(1, largest)))
    pool = ThreadPoolExecutor(ahead, "fetch")
    waiting: deque[Future[bytes]] = deque()
    numbers = iter(range(len(manifest.chunks)))
    try:
        for number in numbers:
            waiting.append(pool.submit(_fetch, store, place, manifest, number))
            if len(waiting) >= ahead:
                yield _checked(digest, waiting.popleft().result())
        while waiting:
            yield _checked(digest, waiting.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)
    if digest.hexdigest() != manifest.totals.raw_sha256:
        raise IntegrityError(
            ErrorCode.CHUNK_CORRUPT,
            f"the chunks of backup {manifest.id} are each as listed, but not the stream that was backed up",
            "The manifest was made from other chunks. Restore another backup.",
        )


def _checked(digest: hashlib._Hash, raw: bytes) -> bytes:
    digest.update(raw)
    return raw


def _fetch(store: Store, place: BackupPlace, manifest: Manifest, number: int) -> bytes:
    entry: Chunk = manifest.chunks[number]
    key = place.chunk(number, manifest.chunk_suffix)
    try:
        data = store.get(key, limit=entry.stored_size + 1)
    except MissingError as error:
        raise IntegrityError(
            ErrorCode.CHUNK_MISSING,
            f"{key} is not in the store",
            "The store lost it. Restore another backup, and check the store.",
        ) from error
    return unseal(data, entry, manifest.compression.algorithm, key)

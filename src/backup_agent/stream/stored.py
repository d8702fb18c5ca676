"""A backup's chunks as they are stored, compared with the manifest: what can be done without the keys to read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Manifest
from backup_agent.errors import ErrorCode, IntegrityError, MissingError
from backup_agent.storage.interface import Store
from backup_agent.stream.seal import check_stored
from backup_agent.stream.settings import StreamSettings


def check_chunks(store: Store, place: BackupPlace, manifest: Manifest, settings: StreamSettings) -> Iterator[Chunk]:
    """Each chunk, in order, once its stored bytes were read and are as listed; several are read at a time.

    Raises IntegrityError (`chunk_corrupt`, `chunk_missing`) and what the store raises.
    """
    largest = max(chunk.stored_size for chunk in manifest.chunks)
    ahead = max(1, min(settings.transfers, settings.memory // max(1, largest)))

    def check(number: int) -> Chunk:
        entry = manifest.chunks[number]
        key = place.chunk(number, manifest.chunk_suffix)
        try:
            data = store.get(key, limit=entry.stored_size + 1)
        except MissingError as error:
            raise IntegrityError(
                ErrorCode.CHUNK_MISSING,
                f"{key} is not in the store",
                "The store lost it. Restore another backup, and check the store.",
            ) from error
        check_stored(data, entry, key)
        return entry

    pool = ThreadPoolExecutor(ahead, "check")
    waiting: deque[Future[Chunk]] = deque()
    numbers = iter(range(len(manifest.chunks)))
    try:
        while True:
            waiting.extend(pool.submit(check, number) for number in islice(numbers, ahead - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

"""A backup's chunks from the store, in order: fetched and unsealed ahead in parallel, each verified before use."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Manifest
from backup_agent.errors import ErrorCode, IntegrityError, MissingError
from backup_agent.storage.interface import Store
from backup_agent.stream.identity import Identity, fitting
from backup_agent.stream.seal import unseal
from backup_agent.stream.settings import StreamSettings


def read_stream(
    store: Store,
    place: BackupPlace,
    manifest: Manifest,
    settings: StreamSettings,
    identities: tuple[Identity, ...] = (),
) -> Iterator[memoryview]:
    """The raw stream, chunk by chunk; each is good until the next one is asked for.

    Each chunk is verified (size, SHA-256 of the stored bytes, decryption, decompression, raw size) before it is given
    out. The SHA-256 of the whole is taken meanwhile and checked after the last one, so what was made of the chunks may
    be used only when this ends without an error. Raises RejectedError (`identity_missing`, `identity_wrong`) before the
    first one, IntegrityError (`chunk_corrupt`, `chunk_missing`) and what the store raises.
    """
    digest = hashlib.sha256()
    fit = fitting(manifest, identities)
    copies = 1 if fit is None else 2  # the stored bytes, and the decrypted ones
    largest = max(chunk.raw_size + copies * chunk.stored_size for chunk in manifest.chunks)
    in_use = max(chunk.raw_size for chunk in manifest.chunks)
    ahead = max(1, min(settings.transfers, (settings.memory - in_use) // max(1, largest)))
    pool = ThreadPoolExecutor(ahead, "fetch")
    digester = ThreadPoolExecutor(1, "digest")
    buffers = _Buffers(in_use)
    source = _Source(store, place, manifest, fit, buffers)
    waiting: deque[Future[_Fetched]] = deque()
    numbers = iter(range(len(manifest.chunks)))
    try:
        while True:
            for number in islice(numbers, ahead - len(waiting)):
                waiting.append(pool.submit(source.fetch, number))
            if not waiting:
                break
            fetched = waiting.popleft().result()
            digested = digester.submit(digest.update, fetched.raw)
            yield fetched.raw
            digested.result()
            buffers.give_back(fetched.buffer)
    finally:
        digester.shutdown()
        pool.shutdown(cancel_futures=True)
    if digest.hexdigest() != manifest.totals.raw_sha256:
        raise IntegrityError(
            ErrorCode.CHUNK_CORRUPT,
            f"the chunks of backup {manifest.id} are each as listed, but not the stream that was backed up",
            "The manifest was made from other chunks. Restore another backup.",
        )


@dataclass(frozen=True, slots=True)
class _Fetched:
    raw: memoryview
    buffer: bytearray


class _Buffers:
    """Used again and again; as many as there are chunks at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: deque[bytearray] = deque()

    def take(self) -> bytearray:
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(self._size)

    def give_back(self, buffer: bytearray) -> None:
        self._free.append(buffer)


@dataclass(frozen=True, slots=True)
class _Source:
    store: Store
    place: BackupPlace
    manifest: Manifest
    identities: tuple[Identity, ...] | None
    """None when nothing is encrypted."""
    buffers: _Buffers

    def fetch(self, number: int) -> _Fetched:
        manifest = self.manifest
        entry: Chunk = manifest.chunks[number]
        key = self.place.chunk(number, manifest.chunk_suffix)
        try:
            data = self.store.get(key, limit=entry.stored_size + 1)
        except MissingError as error:
            raise IntegrityError(
                ErrorCode.CHUNK_MISSING,
                f"{key} is not in the store",
                "The store lost it. Restore another backup, and check the store.",
            ) from error
        buffer = self.buffers.take()
        raw = unseal(data, entry, manifest.compression.algorithm, key, buffer, identities=self.identities)
        return _Fetched(raw, buffer)

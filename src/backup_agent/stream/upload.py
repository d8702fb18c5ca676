"""The engine's stream to the store: cut into chunks, judged, sealed and stored in parallel, within bounded memory.

The calling thread reads and cuts; one pool seals; another one stores. What it does not do: write the manifest, retry
(the store it is given does), or clean up the chunks of a failure.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Protocol

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Totals
from backup_agent.storage.interface import Store
from backup_agent.stream.memory import Budget, Closed, RawBuffers
from backup_agent.stream.seal import SealedChunk, seal
from backup_agent.stream.settings import StreamSettings

_READ = 1 << 20
"""Bytes asked of the engine's pipe at a time: what the pipe holds."""
_TICK = 0.5
"""Seconds between two calls of `on_progress` once the source has ended."""


class Judge(Protocol):
    """Looks at every byte of the raw stream as it passes, in order; raises to refuse it."""

    def feed(self, data: bytes | memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Uploaded:
    chunks: tuple[Chunk, ...]
    totals: Totals


class Upload:
    """One stream's way to the store. Used once."""

    def __init__(
        self, store: Store, place: BackupPlace, settings: StreamSettings, *, on_failure: Callable[[], None]
    ) -> None:
        """`on_failure` is called at once, from any thread, when the stream is refused or a chunk can't be sealed or
        stored: it must make the source end and the store give up, or the others would learn of it late.
        """
        self._store = store
        self._place = place
        self._settings = settings
        self._on_failure = on_failure
        self._raw = RawBuffers(settings.raw_buffers, settings.chunk_size)
        self._sealed = Budget(settings.sealed_memory)
        self._sealers = ThreadPoolExecutor(settings.threads, "seal")
        self._movers = ThreadPoolExecutor(settings.transfers, "store")
        self._lock = threading.Lock()
        self._entries: dict[int, Chunk] = {}
        self._under_way = 0
        self._idle = threading.Event()
        self._idle.set()
        self._failure: BaseException | None = None
        self._stored_size = 0
        self.bytes_read = 0

    @property
    def bytes_stored(self) -> int:
        """Confirmed by the store so far."""
        return self._stored_size

    def run(self, source: IO[bytes], judge: Judge, on_progress: Callable[[], None]) -> Uploaded:
        """Moves everything `source` gives; returns when the store has confirmed every chunk.

        `on_progress` is called after each read, in this thread. Raises what the judge, the store or the sealing raised,
        and leaves no transfer running.
        """
        digest = hashlib.sha256()

        def look(piece: memoryview) -> None:
            digest.update(piece)
            judge.feed(piece)
            self.bytes_read += piece.nbytes
            on_progress()

        try:
            count = self._cut(source, look)
            while not self._idle.wait(_TICK):
                on_progress()
        except Closed:
            count = 0
        except BaseException as error:
            self._fail(error)
            self._on_failure()
            raise
        finally:
            self._sealers.shutdown()
            self._movers.shutdown()
        if self._failure is not None:
            raise self._failure
        chunks = tuple(self._entries[number] for number in range(count))
        return Uploaded(
            chunks,
            Totals(
                raw_size=self.bytes_read,
                stored_size=sum(chunk.stored_size for chunk in chunks),
                raw_sha256=digest.hexdigest(),
            ),
        )

    def _cut(self, source: IO[bytes], look: Callable[[memoryview], None]) -> int:
        number = 0
        while True:
            buffer = self._raw.take()
            filled = _fill(source, memoryview(buffer), look)
            if filled == 0:
                return number
            self._submit(self._sealers, self._seal, number, buffer, filled)
            number += 1
            if filled < len(buffer):
                return number

    def _seal(self, number: int, buffer: bytearray, filled: int) -> None:
        self._sealed.acquire(self._settings.chunk_size)
        with memoryview(buffer) as whole, whole[:filled] as raw:
            chunk = seal(raw, self._settings.zstd_level)
        self._raw.give_back(buffer)
        self._sealed.release(self._settings.chunk_size - len(chunk.data))
        self._submit(self._movers, self._put, number, chunk)

    def _put(self, number: int, chunk: SealedChunk) -> None:
        if self._failure is not None:
            return
        self._store.put(self._place.chunk(number), chunk.data)
        self._sealed.release(len(chunk.data))
        with self._lock:
            self._entries[number] = chunk.entry
            self._stored_size += len(chunk.data)

    def _submit(self, pool: ThreadPoolExecutor, task: Callable[..., None], *args: object) -> None:
        with self._lock:
            self._under_way += 1
            self._idle.clear()
        pool.submit(task, *args).add_done_callback(self._look_after)

    def _look_after(self, future: Future[None]) -> None:
        error = future.exception()
        try:
            if error is not None and not isinstance(error, Closed):
                self._fail(error)
                self._on_failure()
        finally:
            with self._lock:
                self._under_way -= 1
                if self._under_way == 0:
                    self._idle.set()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self._raw.close()
        self._sealed.close()


def _fill(source: IO[bytes], buffer: memoryview, look: Callable[[memoryview], None]) -> int:
    """Reads until `buffer` is full or the source ends; the bytes read."""
    filled = 0
    while filled < len(buffer):
        size = source.readinto(buffer[filled : filled + _READ])  # type: ignore[attr-defined]  # typeshed's IO lacks it
        if not size:
            break
        look(buffer[filled : filled + size])
        filled += size
    return filled

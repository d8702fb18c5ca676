"""Sealed chunks to the store, several at a time: those in memory first, since they hold what others wait for.

What it does not do: retry, or limit the rate (the store it is given does).
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from backup_agent.domain.manifest import Chunk
from backup_agent.stream.memory import Budget, Closed
from backup_agent.stream.sealing import SealedChunk, unreadable
from backup_agent.stream.spool import SpoolFile

_LOOK_EVERY: Final = 0.05
"""Seconds between two looks whether there is memory for a spooled chunk."""


class Shipping:
    """The queue before the store, and what has arrived there. Safe from any thread."""

    def __init__(
        self, put: Callable[[int, bytes | bytearray, str], None], memory: Budget, *, on_stored: Callable[[], None]
    ) -> None:
        """`put` stores a chunk, given its number, its bytes and their SHA-256."""
        self._put = put
        self._on_stored = on_stored
        self._memory = memory
        self._condition = threading.Condition()
        self._buffered: deque[SealedChunk] = deque()
        self._spooled: deque[SealedChunk] = deque()
        self._closed = False
        self.entries: dict[int, Chunk] = {}
        self.bytes_stored = 0
        """Confirmed by the store so far."""

    def add(self, chunk: SealedChunk) -> None:
        queue = self._spooled if isinstance(chunk.held, SpoolFile) else self._buffered
        with self._condition:
            queue.append(chunk)
            self._condition.notify()

    def work(self) -> None:
        """Stores chunk after chunk, until closed. Raises what the store raises, and EngineError (`spool_failed`)."""
        while self._ship_one():
            pass

    def close(self) -> None:
        """Lets the threads go: when all is stored, or nothing more shall be."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _ship_one(self) -> bool:
        """False when closed. A function of its own, so that nothing keeps a chunk while the next one is awaited."""
        chunk = self._take()
        if chunk is None:
            return False
        self._put(
            chunk.number,
            _read_back(chunk.entry, chunk.held) if isinstance(chunk.held, SpoolFile) else chunk.held,
            chunk.entry.sha256,
        )
        with self._condition:
            self.entries[chunk.number] = chunk.entry
            self.bytes_stored += chunk.entry.stored_size
        self._memory.release(chunk.entry.stored_size)
        self._on_stored()
        return True

    def _take(self) -> SealedChunk | None:
        """The next chunk, for whose bytes memory has been taken; None when closed."""
        while True:
            with self._condition:
                if self._closed:
                    return None
                chunk = self._next()
                if chunk is not None:
                    return chunk
                self._condition.wait(_LOOK_EVERY if self._spooled else None)

    def _next(self) -> SealedChunk | None:
        if self._buffered:
            return self._buffered.popleft()
        try:
            if self._spooled and self._memory.acquire(self._spooled[0].entry.stored_size, within=0):
                return self._spooled.popleft()
        except Closed:
            return None
        return None


def _read_back(entry: Chunk, file: SpoolFile) -> bytearray:
    """Verified: nothing else would notice a disk that changes bytes before the backup is restored."""
    data = bytearray(file.size)  # grown piece by piece, it would take an eighth more
    digest = hashlib.sha256()
    filled = 0
    try:
        with memoryview(data) as whole:
            for piece in file.pieces():
                whole[filled : filled + piece.nbytes] = piece
                filled += piece.nbytes
                digest.update(piece)
    except OSError as error:
        raise unreadable(error) from error
    if digest.hexdigest() != entry.sha256:
        raise unreadable(OSError("its SHA-256 is not the one it was written with"))
    file.remove()
    return data

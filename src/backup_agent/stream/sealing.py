"""Raw chunks to sealed ones: digested and judged in the order of the stream, then compressed, and
encrypted where there are recipients, side by side.

A sealed chunk finds its place in memory or, when the store is slow, in the spool; without room in either, it waits.
What it does not do: read the engine, or store anything.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from backup_agent.domain.manifest import Chunk, Compression
from backup_agent.domain.recipient import Recipient
from backup_agent.errors import EngineError, ErrorCode
from backup_agent.stream.intake import RawChunk
from backup_agent.stream.memory import Budget, Closed
from backup_agent.stream.pace import Pace
from backup_agent.stream.seal import seal, seal_pieces
from backup_agent.stream.spool import Spool, SpoolFile

_PATIENCE: Final = 1.0
"""Seconds to wait for memory before sealed chunks go to the spool: a store that keeps up needs no disk."""
_LOOK_EVERY: Final = 0.05
_PAUSE: Final = 0.01
_MARGIN: Final = 1.25
"""A chunk gets a place for so many times what the ones before it took. One that takes more is let have it."""
_FORGET: Final = 0.8
"""How fast a chunk that compressed badly is forgotten, by each one that follows."""


class Judge(Protocol):
    """Looks at every byte of the raw stream as it passes, in order; raises to refuse it."""

    def feed(self, data: bytes | memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A chunk as the store is to have it, in memory or on disk."""

    number: int
    entry: Chunk
    held: bytes | bytearray | SpoolFile


class Turnstile:
    """Lets the holders of numbers through one at a time, in order from 0."""

    def __init__(self) -> None:
        self._next = 0
        self._condition = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Raises Closed. A block that raises lets nobody else through."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._next == number)
            if self._closed:
                raise Closed
        yield
        with self._condition:
            self._next += 1
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Sealing:
    """The work of the sealing threads; `seal` may run in several at a time."""

    def __init__(
        self,
        judge: Judge,
        compression: Compression,
        pace: Pace,
        memory: Budget,
        spool: Spool,
        *,
        locked: Callable[[], bool],
        awaited: Callable[[], bool],
        recipients: tuple[Recipient, ...] = (),
    ) -> None:
        """`pace` has the levels of zstd. `locked` tells whether writers of the database wait for the engine, `awaited`
        whether the engine waits for us.
        """
        self._judge = judge
        self._algorithm = compression.algorithm
        self._recipients = recipients
        self._pace = pace
        self._memory = memory
        self._spool = spool
        self._locked = locked
        self._awaited = awaited
        self._digest = hashlib.sha256()
        self._order = Turnstile()
        self._share = 1.0  # of its raw size that a chunk is expected to take; the first ones may take all
        self._store_is_slow = False
        self.held_up = False
        """Whether the store was so slow that memory and spool were full."""

    @property
    def raw_sha256(self) -> str:
        """Of what has been sealed so far."""
        return self._digest.hexdigest()

    def seal(self, chunk: RawChunk) -> SealedChunk:
        """Releases `chunk`. Raises what the judge raises, and Closed."""
        try:
            self._leave_cpu_to_locked_engine()
            with self._order.turn(chunk.number):
                for piece in self._read(chunk):
                    self._digest.update(piece)
                    self._judge.feed(piece)
            return self._seal_somewhere(chunk)
        finally:
            chunk.release()

    def close(self) -> None:
        self._order.close()

    def _leave_cpu_to_locked_engine(self) -> None:
        """While tables are locked nothing is begun that can wait, unless the engine has to wait for it."""
        while self._locked() and not self._awaited() and not self._order.closed:
            time.sleep(_PAUSE)

    def _seal_somewhere(self, chunk: RawChunk) -> SealedChunk:
        while True:
            expected = min(chunk.size, int(chunk.size * self._share))
            file = self._find_place(expected)
            if file is None:
                return self._seal_into_memory(chunk, expected)
            try:
                # A disk that is told to begin may let us wait, and then so may the engine with its locks.
                entry = self._seal_pieces(chunk, file.write if self._locked() else file.write_soon)
                file.finish()
            except OSError as error:
                file.remove()
                self._spool.give_up(error)
            else:
                return self._sealed(chunk, entry, file)

    def _seal_into_memory(self, chunk: RawChunk, expected: int) -> SealedChunk:
        data: bytes | bytearray
        whole = None if self._recipients else chunk.whole()
        if whole is not None:
            with whole:
                data, entry = seal(whole, self._compression())
        else:
            data = bytearray()
            entry = self._seal_pieces(chunk, data.extend)
        self._memory.release(expected - len(data))
        return self._sealed(chunk, entry, data)

    def _seal_pieces(self, chunk: RawChunk, write: Callable[[bytes | memoryview], object]) -> Chunk:
        return seal_pieces(self._read(chunk), chunk.size, self._compression(), self._recipients, write)

    def _sealed(self, chunk: RawChunk, entry: Chunk, held: bytes | bytearray | SpoolFile) -> SealedChunk:
        self._share = max(_MARGIN * entry.stored_size / entry.raw_size, _FORGET * self._share)
        return SealedChunk(chunk.number, entry, held)

    def _compression(self) -> Compression:
        return Compression(algorithm=self._algorithm, level=self._pace.level)

    def _find_place(self, size: int) -> SpoolFile | None:
        """None when the memory for it has been taken."""
        if self._memory.acquire(size, within=0):
            self._store_is_slow = False
            if self._awaited():
                self._pace.cpu_limits()
            return None
        self._pace.store_limits()
        began = time.monotonic()
        while True:
            locked = self._locked()
            if locked or self._store_is_slow:
                if file := self._spool.claim(size, locked=locked):
                    return file
                self.held_up = True
            if self._memory.acquire(size, within=_LOOK_EVERY):
                return None
            self._store_is_slow |= time.monotonic() - began >= _PATIENCE

    @staticmethod
    def _read(chunk: RawChunk) -> Iterator[memoryview]:
        try:
            yield from chunk.pieces()
        except OSError as error:
            raise unreadable(error) from error


def unreadable(error: OSError) -> EngineError:
    return EngineError(
        ErrorCode.SPOOL_FAILED,
        f"a part of the stream can't be read back from the spool: {error}",
        "Check the disk that spool.dir is on, then take the backup again.",
    )


def be_nice(niceness: int) -> None:
    """Lowers the priority of the calling thread alone: what it does can wait, the engine and the server can't."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

"""Takes the engine's stream in as fast as it comes and cuts it into raw chunks. Judges nothing, seals nothing.

While tables are locked the engine must never wait for us: chunks that find no buffer then go to the spool as they are,
to be sealed when the locks are gone. At other times the engine waits for a buffer, which harms nobody.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Final, Protocol

from backup_agent.stream.memory import Budget, RawBuffers
from backup_agent.stream.spool import Spool, SpoolFile

_READ: Final = 1 << 20
"""Bytes asked of the engine at a time: what may be on their way."""
_PATIENCE: Final = 0.01
"""Seconds to wait for a buffer before looking whether tables have been locked meanwhile."""


class RawChunk(Protocol):
    """A piece of the engine's stream, in memory or on disk."""

    @property
    def number(self) -> int:
        """Counted from 0."""
        ...

    @property
    def size(self) -> int: ...

    def pieces(self) -> Iterator[memoryview]:
        """The bytes, about a MiB at a time; each piece is good until the next one. Can be asked for again."""
        ...

    def whole(self) -> memoryview | None:
        """All of them, where they are in memory; to be released before the chunk is."""
        ...

    def release(self) -> None:
        """Gives back what holds it."""
        ...


class Activity(Enum):
    READING = auto()
    """The engine's turn."""
    SPOOLING = auto()
    """The disk's."""
    WAITING = auto()
    """For a buffer, which the sealing threads free."""
    ENDED = auto()
    """Nothing more: the source has ended."""


@dataclass(slots=True)
class BufferedChunk:
    number: int
    buffer: bytearray
    size: int
    give_back: Callable[[bytearray], None]

    def pieces(self) -> Iterator[memoryview]:
        with memoryview(self.buffer) as whole:
            for start in range(0, self.size, _READ):
                with whole[start : min(start + _READ, self.size)] as piece:
                    yield piece

    def whole(self) -> memoryview | None:
        with memoryview(self.buffer) as buffer:
            return buffer[: self.size]

    def release(self) -> None:
        self.give_back(self.buffer)


@dataclass(slots=True)
class SpooledChunk:
    number: int
    file: SpoolFile

    @property
    def size(self) -> int:
        return self.file.size

    def pieces(self) -> Iterator[memoryview]:
        return self.file.pieces()

    def whole(self) -> memoryview | None:
        return None

    def release(self) -> None:
        self.file.remove()


class Intake:
    """Reads `source` to its end, in one thread of its own; the others may look at what it counts."""

    def __init__(
        self,
        source: IO[bytes],
        chunk_size: int,
        buffers: RawBuffers,
        memory: Budget,
        spool: Spool,
        *,
        locked: Callable[[], bool],
        on_chunk: Callable[[RawChunk], None],
    ) -> None:
        """`memory` is that of the sealed chunks, which is lent while tables are locked.

        `locked` tells whether writers of the database wait for the engine now.
        """
        self._source = source
        self._chunk_size = chunk_size
        self._buffers = buffers
        self._memory = memory
        self._spool = spool
        self._locked = locked
        self._on_chunk = on_chunk
        self._scratch = memoryview(bytearray(min(_READ, chunk_size)))
        self._unwritten = self._scratch[:0]
        self._spare: deque[bytearray] = deque()
        self.bytes_read = 0
        self.chunks = 0
        self.held_up = False
        """Whether the engine had to wait for us while tables were locked: memory and spool were full."""
        self.doing: tuple[Activity, float] = (Activity.READING, time.monotonic())
        """What it does, and since when by the monotonic clock."""

    def make_room(self) -> None:
        """Takes what memory there is for the time when tables are locked. From any thread, shortly before that.

        But for a chunk: without room for one that is sealed, these could never be sealed themselves.
        """
        while self._memory.acquire(self._chunk_size, within=0, leaving=self._chunk_size):
            self._spare.append(bytearray(self._chunk_size))

    def run(self) -> None:
        """Raises Closed when the buffers are closed, and OSError when `source` can't be read."""
        ended = False
        while not ended:
            chunk = self._find_place()
            if isinstance(chunk, SpooledChunk):
                ended = self._fill_file(chunk.file)
            else:
                chunk.size = self._fill_buffer(memoryview(chunk.buffer))
                ended = chunk.size < len(chunk.buffer)
            if chunk.size:
                self.chunks += 1
                self._on_chunk(chunk)
            else:
                chunk.release()
        while self._spare:
            self._drop_spare(self._spare.popleft())
        self._now(Activity.ENDED)

    def _find_place(self) -> BufferedChunk | SpooledChunk:
        """An empty chunk to be filled."""
        patience = 0.0
        while True:
            buffer = self._buffers.take(within=patience)
            if buffer is not None:
                return BufferedChunk(self.chunks, buffer, 0, self._buffers.give_back)
            if self._locked():
                if (more := self._find_more()) is not None:
                    return more
                self.held_up = True
            self._now(Activity.WAITING)
            patience = _PATIENCE

    def _find_more(self) -> BufferedChunk | SpooledChunk | None:
        """What is used only while tables are locked."""
        if self._spare:
            return BufferedChunk(self.chunks, self._spare.popleft(), 0, self._drop_spare)
        file = self._spool.claim(self._chunk_size, locked=True)
        return SpooledChunk(self.chunks, file) if file is not None else None

    def _drop_spare(self, buffer: bytearray) -> None:
        self._memory.release(len(buffer))

    def _fill_buffer(self, buffer: memoryview) -> int:
        """The bytes read; fewer than fit at the end of the source."""
        filled = self._unwritten.nbytes
        buffer[:filled] = self._unwritten
        self._unwritten = self._scratch[:0]
        while filled < len(buffer):
            size = self._read(buffer[filled : filled + _READ])
            if not size:
                break
            filled += size
        return filled

    def _fill_file(self, file: SpoolFile) -> bool:
        """Whether the source has ended. A disk that fails makes the chunk end early; no byte is lost."""
        ended = False
        while file.size < self._chunk_size:
            if not self._unwritten:
                size = self._read(self._scratch[: min(len(self._scratch), self._chunk_size - file.size)])
                self._unwritten = self._scratch[:size]
                if not size:
                    ended = True
                    break
            self._now(Activity.SPOOLING)
            try:
                file.write(self._unwritten)
            except OSError as error:
                self._spool.give_up(error)
                break
            self._unwritten = self._scratch[:0]
        file.finish()
        return ended

    def _read(self, buffer: memoryview) -> int:
        self._now(Activity.READING)
        size: int = self._source.readinto(buffer) or 0  # type: ignore[attr-defined]  # typeshed's IO lacks it
        self.bytes_read += size
        return size

    def _now(self, activity: Activity) -> None:
        self.doing = (activity, time.monotonic())

"""The spool: bounded files on disk for the chunks that find no room in memory, so that the engine need not wait.

Its directory belongs to one instance, and whoever uses it holds the instance's lock: what a killed process left there
is removed by the next one. Nothing here is made to last: the files are worthless once their backup has ended.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from backup_agent import directories
from backup_agent.stream.spool_bounds import MODE, SpoolBounds, unusable

if TYPE_CHECKING:
    from backup_agent.stream.veil import Stretch, Veil

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
"""Seconds between two looks at the free space."""
_PIECE = 1 << 20
_SOON = 2 << 20
"""Bytes: 20 ms of a disk that takes 100 MB a second."""


def _new_veil() -> Veil:
    # Imported here because its library takes a twentieth of a second to load, which others need not pay for.
    from backup_agent.stream.veil import Veil  # noqa: PLC0415

    return Veil()


class Spool:
    """The files of one backup. Entered: the directory is made afresh (0700); left: removed with all that is in it.

    Safe from any thread.
    """

    def __init__(
        self,
        directory: Path,
        limits: SpoolBounds,
        clock: Callable[[], float] = time.monotonic,
        *,
        veiled: bool = False,
    ) -> None:
        """`veiled`: nothing on disk is legible, by a key that nobody has but this object."""
        self._directory = directory
        self._veil = _new_veil() if veiled else None
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._claimed = 0
        self._made = 0
        self._looked = float("-inf")
        self._spare = 0
        self._given_up = False
        self.peak = 0

    @property
    def claimed(self) -> int:
        """Bytes in use or promised."""
        return self._claimed

    def claim(self, size: int, *, locked: bool) -> SpoolFile | None:
        """A new file with room for `size` bytes; None when there is none. `locked` opens the reserve."""
        limit = self._limits.limit - (0 if locked else self._limits.reserve)
        with self._lock:
            if self._given_up or self._claimed + size > limit or self._room() < size:
                return None
            self._claimed += size
            self._spare -= size
            self.peak = max(self.peak, self._claimed)
            self._made += 1
            number = self._made
        path = self._directory / f"{number:08d}"
        veil = self._veil
        try:
            return SpoolFile(path, size, self._give_back, None if veil is None else lambda: veil.over(number))
        except OSError as error:
            self._give_back(size)
            self.give_up(error)
            return None

    def give_up(self, error: OSError) -> None:
        """A disk that fails is used no more; what is on it already can perhaps still be read."""
        with self._lock:
            known, self._given_up = self._given_up, True
        if not known:
            log.warning("the spool can't be written any more", directory=str(self._directory), reason=str(error))

    def __enter__(self) -> Self:
        try:
            if self._directory.exists():
                shutil.rmtree(self._directory)
            directories.make(self._directory, MODE)
            self._directory.chmod(MODE)
        except OSError as error:
            raise unusable(self._directory, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        try:
            shutil.rmtree(self._directory)
        except OSError as error:
            log.warning("the spool could not be removed", directory=str(self._directory), reason=str(error))

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._claimed -= size

    def _room(self) -> int:
        """Bytes that may be written before the next look at the disk."""
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            try:
                self._spare = shutil.disk_usage(self._directory).free - self._limits.floor
            except OSError:
                self._spare = 0
        return self._spare


class SpoolFile:
    """One chunk on disk: written once, read any number of times, removed. For one thread at a time; raises OSError."""

    def __init__(
        self, path: Path, claimed: int, give_back: Callable[[int], None], veil: Callable[[], Stretch] | None = None
    ) -> None:
        """`veil` begins one over the whole file."""
        self._path = path
        self._veil = veil
        self._writing = None if veil is None else veil()
        self._claimed = claimed
        self._give_back = give_back
        self.size = 0
        self._begun = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Appends `piece`, whole or, when it raises, not at all; then nothing more may be written."""
        with memoryview(piece) if self._writing is None else self._writing.turn(piece) as view:
            done = 0
            while done < view.nbytes:
                done += os.pwrite(self._descriptor, view[done:], self.size + done)
            self.size += done

    def write_soon(self, piece: bytes | bytearray | memoryview) -> None:
        """As `write`, and has the disk begin with it every 2 MiB: for what may wait until the disk takes it.

        The kernel would collect it for seconds, and an fsync of the database's log would then wait behind all of it.
        """
        self.write(piece)
        if self.size - self._begun >= _SOON:
            os.posix_fadvise(self._descriptor, self._begun, self.size - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.size

    def finish(self) -> None:
        """Nothing more will be written: gives back what was claimed and not used, or takes what was used beyond it."""
        self._give_back(self._claimed - self.size)
        self._claimed = self.size
        os.close(self._descriptor)
        self._descriptor = -1

    def pieces(self) -> Iterator[memoryview]:
        """The content, about a MiB at a time; each piece is good until the next one."""
        buffer = memoryview(bytearray(min(_PIECE, max(1, self.size))))
        veil = None if self._veil is None else self._veil()
        with self._path.open("rb", buffering=0) as file:
            left = self.size
            while left > 0:
                got = file.readinto(buffer[: min(left, len(buffer))])
                if not got:
                    msg = f"{self._path} has been cut short"
                    raise OSError(msg)
                yield buffer[:got] if veil is None else veil.turn(buffer[:got])
                left -= got

    def remove(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._give_back(self._claimed)
        self._claimed = 0

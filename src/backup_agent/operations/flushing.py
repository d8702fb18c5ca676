"""Has what is written into a directory go to disk all the while, so that making it durable at the end takes little.

A restore writes gigabytes that the kernel would keep in memory; to wait for all of them at the end took as long as the
extraction itself (200 MB/s to disk, seen on a small virtual machine).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backup_agent.operations.tree import files_in

_LOOK_EVERY = 0.25
"""Seconds; longer when there is so much to look at that it would take more than a tenth of the time."""
_WORTH = 32 << 20
"""Bytes of one file that are worth a flush."""


@contextmanager
def flushed_meanwhile(directory: Path) -> Iterator[None]:
    """Raises OSError at the end when a flush failed: the kernel tells of such a failure only once."""
    flusher = _Flusher(directory)
    thread = threading.Thread(target=flusher.run, name="flush")
    thread.start()
    try:
        yield
    finally:
        flusher.ended.set()
        thread.join()
    if flusher.failure is not None:
        raise flusher.failure


class _Flusher:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._flushed: dict[str, int] = {}
        self._pause = _LOOK_EVERY
        self.ended = threading.Event()
        self.failure: OSError | None = None

    def run(self) -> None:
        while self.failure is None and not self.ended.wait(self._pause):
            try:
                self._flush_grown()
            except OSError as error:
                self.failure = error

    def _flush_grown(self) -> None:
        with suppress(FileNotFoundError):  # files come and go while a directory is filled
            began = time.monotonic()
            files = files_in(self._directory)
            self._pause = max(_LOOK_EVERY, 9 * (time.monotonic() - began))
            for name, size in files.items():
                if self.ended.is_set():
                    return
                if size - self._flushed.get(name, 0) >= _WORTH:
                    _flush(self._directory / name)
                    self._flushed[name] = size


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)

"""The bound on memory: raw buffers that are used again and again, and a budget for sealed bytes.

A thread that wants more than there is waits; `close` wakes all of them for good, so that nobody waits for a thread that
has failed.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 1 << 20


def return_freed_memory() -> None:
    """Has the C library give large blocks back to the system as soon as they are freed. For the whole process.

    glibc raises its threshold to the largest block that was ever freed, and keeps those below it in heaps that fill
    with holes: sealed chunks of changing sizes then took 55 MiB more than they had bytes. Other C libraries are left
    alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back_freed_memory() -> None:
    """Gives what is left in the heaps' holes back to the system: for a process that will be idle for long."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        gc.collect()
        malloc_trim(0)


class Closed(Exception):  # noqa: N818 - tells a waiting thread to go home, not that anything failed
    """The pipeline is being torn down; the reason is with whoever closed it."""


class RawBuffers:
    """At most `count` buffers of `size` bytes, made when first needed."""

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._unmade = count
        self._free: list[bytearray] = []
        self._condition = threading.Condition()
        self._closed = False

    def take(self, *, within: float) -> bytearray | None:
        """Waits for a buffer up to `within` seconds. Raises Closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._free or self._unmade, within)
            if self._closed:
                raise Closed
            if self._free:
                return self._free.pop()
            if not self._unmade:
                return None
            self._unmade -= 1
        return bytearray(self._size)

    def give_back(self, buffer: bytearray) -> None:
        with self._condition:
            self._free.append(buffer)
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Budget:
    """A number of bytes that may be in use at a time."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._condition = threading.Condition()
        self._closed = False

    def acquire(self, size: int, *, within: float, leaving: int = 0) -> bool:
        """Takes `size` bytes, if they, and `leaving` more, are free within so many seconds; whether it did.

        Raises Closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._left >= size + leaving, within)
            if self._closed:
                raise Closed
            if self._left < size + leaving:
                return False
            self._left -= size
            return True

    def release(self, size: int) -> None:
        """Gives back `size` bytes; a negative size takes more, free or not."""
        with self._condition:
            self._left += size
            self._condition.notify_all()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()

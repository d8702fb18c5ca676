"""A store that keeps to a bandwidth: a wrapper, so that no store has to.

Only the bodies of objects count, not requests, headers or listings. Nothing here slows the bytes of one body down: it
waits until it may go, and then goes as fast as it can. Wrap it in the retrying store, not the other way round, so that
what is sent again counts again; and give that one `ThrottledStore.clock`, or it would take waiting for failing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from backup_agent.cancellation import Cancellation
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store

_CREDIT_S = 0.25
"""Seconds of idleness that can be made up for: small objects, such as manifests, then need not wait."""


class Bandwidth:
    """A bound on the average rate of all who share it, from any thread.

    From any moment on, they may together begin at most what `bytes_per_second` allow until then, and a quarter of a
    second's bytes more. It is a bound and no aim: one thread alone stays below it by the time that its transfers take.
    """

    def __init__(self, bytes_per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds. Raises ValueError unless the rate is positive."""
        if not bytes_per_second > 0:
            msg = f"a bandwidth of {bytes_per_second} bytes per second lets nothing through"
            raise ValueError(msg)
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._paid_until = clock() - _CREDIT_S
        self.clock = clock

    def book(self, size: int) -> float:
        """Books `size` bytes, behind all that was booked before; the time on the clock when they may go."""
        with self._lock:
            self._paid_until = max(self._paid_until, self.clock() - _CREDIT_S) + size / self._rate
            return self._paid_until


class ThrottledStore(StoreInFront):
    """Implements `Store` by another one, sharing `bandwidth` with others.

    A put waits before it begins. A get, whose size is known only then, waits before it returns, and so holds back the
    next one. Cancelling ends a wait at once and raises the reason; what was booked stays booked. Nothing else waits, so
    that a clean-up is never held back.
    """

    def __init__(self, store: Store, bandwidth: Bandwidth, *, cancellation: Cancellation) -> None:
        super().__init__(store)
        self._bandwidth = bandwidth
        self._cancellation = cancellation
        self._waited = threading.local()

    def clock(self) -> float:
        """Seconds that pass for the calling thread while it does not wait here; to be compared within that thread."""
        return self._bandwidth.clock() - self._waited_by_this_thread()

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        self._await(len(body))
        self._store.put(key, body, sha256=sha256, once=once)

    def get(self, key: str, *, limit: int) -> bytes:
        body = self._store.get(key, limit=limit)
        self._await(len(body))
        return body

    def _await(self, size: int) -> None:
        began = self._bandwidth.clock()
        may_go = self._bandwidth.book(size)
        try:
            while (left := may_go - self._bandwidth.clock()) > 0:
                self._cancellation.wait(left)
                self._cancellation.check()
        finally:
            self._waited.seconds = self._waited_by_this_thread() + self._bandwidth.clock() - began

    def _waited_by_this_thread(self) -> float:
        seconds: float = getattr(self._waited, "seconds", 0.0)
        return seconds

"""How often an account may ask, counted for all workers of a host together.

The counts are in memory that the workers share, because they are forked from the process that made it. Each is one
time: when the account's allowance will be whole again (the generic cell rate algorithm), so nothing has to be swept. A
record lock guards each: it ends with a process that is killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from backup_agent.api import faults

_PLACES = 1 << 14
_NEIGHBOURS = 16
_PLACE = struct.Struct("<Qd")
_MINUTE = 60.0


class RateLimiter:
    """`admit` is safe from any thread and any forked process."""

    def __init__(self, per_minute: Mapping[str, int], now: Callable[[], float] = time.monotonic) -> None:
        """`per_minute` is the allowance of each verb; others are not limited. `now` is the same in all processes."""
        self._per_minute = dict(per_minute)
        self._now = now
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._file.truncate(_PLACES * _PLACE.size)
        self._memory = mmap.mmap(self._file.fileno(), _PLACES * _PLACE.size)
        self._lock = threading.Lock()

    def close(self) -> None:
        """For this process; the others keep theirs."""
        self._memory.close()
        self._file.close()

    def admit(self, verb: str, account_id: str) -> None:
        """Raises Fault (413) with Retry-After."""
        limit = self._per_minute.get(verb)
        if limit is None:
            return
        wait = self._take(verb, account_id, limit)
        if wait > 0:
            raise faults.rate(limit, verb, math.ceil(wait))

    def left(self, verb: str, account_id: str) -> int:
        """Requests that would be admitted now."""
        limit = self._per_minute[verb]
        key, first = _key(verb, account_id)
        now = self._now()
        whole_at = max((at for found, at, _ in self._around(first) if found == key), default=now)
        return limit - math.ceil(max(0.0, whole_at - now) * limit / _MINUTE)

    def _take(self, verb: str, account_id: str, limit: int) -> float:
        """0 when admitted, else the seconds to wait."""
        key, first = _key(verb, account_id)
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _PLACE.size, first * _PLACE.size)
            try:
                now = self._now()
                place, whole_at = self._find(key, first)
                whole_at = max(whole_at, now) + _MINUTE / limit
                if whole_at - now > _MINUTE:
                    return whole_at - now - _MINUTE
                _PLACE.pack_into(self._memory, place, key, whole_at)
                return 0.0
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _PLACE.size, first * _PLACE.size)

    def _find(self, key: int, first: int) -> tuple[int, float]:
        """The account's own place, or the one whose account has had its allowance for the longest."""
        around = list(self._around(first))
        own = next(((place, at) for found, at, place in around if found == key), None)
        if own is not None:
            return own
        return min(around, key=lambda entry: entry[1])[2], 0.0

    def _around(self, first: int) -> list[tuple[int, float, int]]:
        """Key, time and offset. The places of one lock: neighbourhoods do not overlap."""
        offsets = range(first * _PLACE.size, (first + _NEIGHBOURS) * _PLACE.size, _PLACE.size)
        return [(*_PLACE.unpack_from(self._memory, offset), offset) for offset in offsets]


def _key(verb: str, account_id: str) -> tuple[int, int]:
    """A number that stands for both (never 0, which is an empty place), and the first place of its neighbourhood."""
    digest = hashlib.blake2b(f"{verb} {account_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    key, spread = struct.unpack("<QQ", digest)
    return key or 1, spread % (_PLACES // _NEIGHBOURS) * _NEIGHBOURS

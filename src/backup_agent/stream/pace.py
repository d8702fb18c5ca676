"""Which zstd level suits what limits the backup just now: the store, the CPU, or neither."""

from __future__ import annotations

import threading
from typing import Final

_HIGHEST: Final = 9
"""Beyond it zstd takes much more memory and time for a few per cent."""


class Pace:
    """Goes up a level while chunks wait for a slow store, and down again while the engine waits for the CPU.

    Safe from any thread. With `adaptive` false it stays where it is.
    """

    def __init__(self, level: int, *, adaptive: bool) -> None:
        """`level` is the lowest."""
        self._lowest = level
        self._highest = max(level, _HIGHEST) if adaptive else level
        self._lock = threading.Lock()
        self.level = level

    def store_limits(self) -> None:
        with self._lock:
            self.level = min(self.level + 1, self._highest)

    def cpu_limits(self) -> None:
        with self._lock:
            self.level = max(self.level - 1, self._lowest)

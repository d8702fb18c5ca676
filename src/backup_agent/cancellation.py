"""How work is told to stop: one token per operation, cancelled from anywhere, looked at by whoever does the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from backup_agent.errors import BackupAgentError


class Cancellation:
    """Safe from any thread, but not from a signal handler, which may have interrupted any of this.

    The first reason given stays.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._reason: BackupAgentError | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.looked_at = time.monotonic()
        """When somebody last asked whether to go on: work that asks is alive."""

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, reason: BackupAgentError) -> None:
        """Ends the work with `reason`; runs the callbacks once, in this thread."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, []
        self._event.set()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raises the reason when cancelled."""
        self.looked_at = time.monotonic()
        if self._reason is not None:
            raise self._reason.again()

    def look(self) -> None:
        """A sign of life of somebody who waits for work that can't ask by itself, such as a statement's answer."""
        self.looked_at = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleeps for `seconds` or until cancelled; whether it was cancelled."""
        return self._event.wait(seconds)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when cancelled; at once when that is so already. It must not block for long."""
        with self._lock:
            if self._reason is None:
                self._callbacks.append(callback)
                return
        callback()

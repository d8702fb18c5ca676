"""When to bring to an end what earlier processes have left, and when to try again. How is `operations.recover`'s."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from backup_agent.errors import BackupAgentError, BusyError, JournalError

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""


class Recovery:
    """For the worker's thread; the events, `trouble` and `at_once` for any."""

    def __init__(self) -> None:
        self._not_before = float("-inf")
        self._pause = _FIRST_PAUSE
        self.looked = threading.Event()
        """Set when it is known what earlier processes have left, or why that can't be known yet."""
        self.recovered = threading.Event()
        """Set when nothing of that is left, or another process is at work, and new commands may come."""
        self.trouble: str | None = None
        """What keeps it from recovering."""

    def at_once(self) -> None:
        """The next try need not wait."""
        self._not_before = float("-inf")

    def settled(self) -> None:
        self.recovered.set()
        self.looked.set()

    def attempt(self, recover: Callable[[], None]) -> bool:
        """Whether to go on: not while it is unknown how an interrupted backup ended. Raises JournalError, and what is
        a fault of this program.
        """
        if time.monotonic() < self._not_before:
            return self.trouble is None
        self.trouble = None
        try:
            recover()
        except BusyError as error:
            if self._pause == _FIRST_PAUSE:
                log.info("what was interrupted is cleaned up when the instance is free", reason=error.message)
            self._back_off()
        except JournalError:
            raise
        except BackupAgentError as error:
            log.warning("can't recover yet", code=error.code, reason=error.message, hint=error.hint)
            self.trouble = error.message
            self.looked.set()
            self._back_off()
        else:
            self._pause = _FIRST_PAUSE
        return self.trouble is None

    def _back_off(self) -> None:
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

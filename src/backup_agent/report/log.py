"""Events as log lines."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.domain.state import Phase

_LEVELS = {EventType.WARNING: 30, EventType.FAILED: 40, EventType.REJECTED: 40, EventType.DELETE_FAILED: 40}
_INFO = 20
_PROGRESS_EVERY = 10.0
"""Seconds: a backup of hours is not to fill the log. A new phase is always told."""


class LogReporter:
    """One structured line per event; the resource is left to the caller who prints it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger("backup_agent.report")
        self._monotonic = monotonic
        self._phase: Phase | None = None
        self._told = float("-inf")

    def publish(self, event: BackupEvent) -> None:
        now = self._monotonic()
        if event.type is EventType.PROGRESS:
            if event.phase is self._phase and now - self._told < _PROGRESS_EVERY:
                return
            self._phase, self._told = event.phase, now
        fields = event.model_dump(mode="json", exclude={"type", "backup", "time"}, exclude_none=True)
        self._log.log(_LEVELS.get(event.type, _INFO), event.type.value, **fields)

"""An outbox in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from backup_agent.domain.event import EventType
from backup_agent.errors import BackupAgentError


@dataclass(frozen=True)
class Waiting:
    id: int
    backup_id: str
    type: EventType
    routing_key: str
    body: bytes


class MemoryOutbox:
    """Implements `Outbox`. With a `fault`, everything but `add` and `depth` raises it."""

    def __init__(self) -> None:
        self.fault: BackupAgentError | None = None
        self.looked = 0
        self.seen: set[int] = set()
        """The events that were handed out."""
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._last = 0
        self._events: dict[int, Waiting] = {}

    def add(
        self, body: bytes, key: str = "instance.backup.started", *, backup_id: str = "backup", wake: bool = True
    ) -> None:
        """Without `wake`, as if by another process."""
        with self._lock:
            self._last += 1
            self._events[self._last] = Waiting(self._last, backup_id, EventType.STARTED, key, body)
        if wake:
            self._news.set()

    def clear(self) -> None:
        self._events.clear()

    def pending(self, limit: int) -> Sequence[Waiting]:
        self.looked += 1
        self._check()
        with self._lock:
            events = list(self._events.values())[:limit]
        self.seen.update(event.id for event in events)
        return events

    def confirmed(self, event_id: int) -> None:
        self._check()
        with self._lock:
            self._events.pop(event_id, None)

    def depth(self) -> int:
        with self._lock:
            return len(self._events)

    def wait(self, seconds: float) -> bool:
        self._check()
        came = self._news.wait(seconds)
        self._news.clear()
        return came

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault.again()

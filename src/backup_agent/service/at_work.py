"""What the worker has in hand, and how other threads put an end to it. Carries out nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator
from backup_agent.operations.job import cancelled


@dataclass(frozen=True, slots=True)
class Running:
    backup_id: str | None
    """None for the recovery."""
    doing: str = "asked for"
    cancellation: Cancellation = field(default_factory=Cancellation)
    hurry: Cancellation = field(default_factory=Cancellation)

    @property
    def alive_at(self) -> float:
        """The monotonic time at which it last looked whether to go on."""
        return max(self.cancellation.looked_at, self.hurry.looked_at)


class AtWork:
    """One thing at a time, which the worker's thread begins and ends; everything else may be called from any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stopping = False
        self.running: Running | None = None

    def begin(self, backup_id: str | None, doing: str = "asked for") -> Running | None:
        """None when it is not to begin any more."""
        with self._lock:
            if self.stopping:
                return None
            self.running = Running(backup_id, doing)
            return self.running

    def end(self) -> None:
        self.running = None

    def cancel(self, backup_id: str) -> None:
        """Ends that backup, if it is the one."""
        with self._lock:
            running = self.running
        if running is not None and running.backup_id == backup_id:
            running.cancellation.cancel(cancelled(backup_id))

    def stop(self, *, cancel: bool) -> None:
        """Nothing begins any more. `cancel` also ends the backup; a recovery is ended in any case."""
        with self._lock:
            self.stopping = True
            running = self.running
        if running is not None and (cancel or running.backup_id is None):
            running.cancellation.cancel(stopped())

    def hurry(self) -> None:
        """Cuts the clean-up short."""
        running = self.running
        if running is not None:
            running.hurry.cancel(stopped())


def stopped() -> InterruptedByOperator:
    return InterruptedByOperator(
        ErrorCode.INTERRUPTED, "the agent was stopped", "Ask for a new backup when the agent runs again."
    )

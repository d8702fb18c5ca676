"""Follows what the worker tells, to say in a line what the agent does."""

from __future__ import annotations

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.domain.instance_command import INSTANCE_COMMANDS
from backup_agent.domain.state import TERMINAL
from backup_agent.report.interface import Reporter


class Following:
    """A Reporter that hands on to another; what it has heard may be asked from any thread."""

    def __init__(self, also: Reporter) -> None:
        self._also = also
        self._last: BackupEvent | None = None

    def publish(self, event: BackupEvent) -> None:
        if event.type is not EventType.WARNING and not self._is_of_another(event):
            self._last = event
        self._also.publish(event)

    def _is_of_another(self, event: BackupEvent) -> bool:
        """A command that was refused says nothing of the backup at work."""
        running = self.running
        return running is not None and event.backup_id != running.backup_id and event.status in TERMINAL

    @property
    def running(self) -> BackupEvent | None:
        """The last event of a backup that has not ended."""
        last = self._last
        return last if last is not None and last.status not in TERMINAL else None

    def describe(self, at_work: str | None, doing: str = "asked for") -> str:
        """`at_work` is the id of the backup that the worker has in hand, told of or not, and `doing` what for."""
        event = self.running
        if event is None:
            if at_work is None:
                return doing if doing in INSTANCE_COMMANDS else "idle"  # which are about no backup
            return f"backup {at_work}: {doing}"
        phase = event.phase.value if event.phase is not None else event.status.value
        percent = f", {event.percent}%" if event.bytes_expected else ""
        return f"backup {event.backup_id}: {phase}{percent}"

"""One reporter made of several, told in turn."""

from __future__ import annotations

from backup_agent.domain.event import BackupEvent
from backup_agent.report.interface import Reporter


class Several:
    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def publish(self, event: BackupEvent) -> None:
        for reporter in self._reporters:
            reporter.publish(event)

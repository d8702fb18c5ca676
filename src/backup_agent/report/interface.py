"""Whoever is told about backups."""

from __future__ import annotations

from typing import Protocol

from backup_agent.domain.event import BackupEvent


class Reporter(Protocol):
    def publish(self, event: BackupEvent) -> None:
        """Takes the event over; returns soon and never raises for the receiver's sake. Called from the thread that
        carries out the operation, in the order of the events' sequence numbers.
        """
        ...

"""Whoever is told about backups, and where what is to be told waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backup_agent.domain.event import BackupEvent


class Reporter(Protocol):
    def publish(self, event: BackupEvent) -> None:
        """Takes the event over; returns soon and never raises for the receiver's sake. Of one backup, called in the
        order of its events' sequence numbers; of several, perhaps from several threads.
        """
        ...


class WaitingEvent(Protocol):
    """An event in the outbox, encoded. Ids rise in the order in which events are to be told."""

    @property
    def id(self) -> int: ...
    @property
    def backup_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Outbox(Protocol):
    """The events that nobody has confirmed yet. Safe from any thread. Raises BackupAgentError when it can't be read."""

    def pending(self, limit: int) -> Sequence[WaitingEvent]:
        """The oldest first."""
        ...

    def confirmed(self, event_id: int) -> None:
        """Removes an event that was told. One that is gone already is no error."""
        ...

    def depth(self) -> int: ...

    def wait(self, seconds: float) -> bool:
        """Whether an event came in this process since the last call, at the latest after `seconds`. Events of other
        processes are not noticed.
        """
        ...

"""What is told about backups, into the journal: the state and the event that says so in one transaction."""

from __future__ import annotations

import structlog

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.domain.state import Phase
from backup_agent.errors import JournalError
from backup_agent.journal.interface import EventRecord, Journal, Transaction
from backup_agent.operations.clock import Clock
from backup_agent.report.interface import Reporter
from backup_agent.report.wire import encode, routing_key

log = structlog.get_logger(__name__)

PROGRESS_EVERY = 5.0
"""Seconds between two events of progress in the same phase: each is a write to disk and a message."""


class Recorder:
    """Takes the events of one backup, whose job the journal has, for the thread that carries it out.

    Raises JournalError for an event that has to be kept; progress and warnings that can't be are lost, since a backup
    of hours is worth more.
    """

    def __init__(self, journal: Journal, clock: Clock, also: Reporter) -> None:
        """`also` is told everything afterwards, recorded or not."""
        self._journal = journal
        self._clock = clock
        self._also = also
        self._phase: Phase | None = None
        self._recorded = float("-inf")

    def publish(self, event: BackupEvent) -> None:
        try:
            if self._is_due(event):
                self._record(event)
        finally:
            self._also.publish(event)

    def _is_due(self, event: BackupEvent) -> bool:
        if event.type is not EventType.PROGRESS:
            return True
        now = self._clock.monotonic()
        if event.phase is self._phase and now - self._recorded < PROGRESS_EVERY:
            return False
        self._phase, self._recorded = event.phase, now
        return True

    def _record(self, event: BackupEvent) -> None:
        try:
            with self._journal.transaction() as transaction:
                transaction.record(record_of(event))
        except JournalError as error:
            if event.type not in (EventType.PROGRESS, EventType.WARNING):
                raise
            log.warning("an event is lost", type=event.type, code=error.code, reason=error.message)


class InTransaction:
    """Takes events within a transaction that somebody else commits, and tells them to `also` when asked to."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._events: list[BackupEvent] = []

    def publish(self, event: BackupEvent) -> None:
        self._transaction.record(record_of(event))
        self._events.append(event)

    def tell(self, also: Reporter) -> None:
        """What was recorded: for when the transaction has been committed."""
        for event in self._events:
            also.publish(event)


def record_of(event: BackupEvent) -> EventRecord:
    return EventRecord(
        backup_id=event.backup_id,
        type=event.type,
        sequence=event.sequence,
        state=event.status,
        phase=event.phase,
        routing_key=routing_key(event),
        body=encode(event),
    )

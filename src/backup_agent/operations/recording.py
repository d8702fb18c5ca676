"""What is told about backups, into the journal: the state and the event that says so in one transaction."""

from __future__ import annotations

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.domain.state import Phase
from backup_agent.errors import JournalError
from backup_agent.journal.interface import EventRecord, Journal, Transaction
from backup_agent.operations.clock import Clock
from backup_agent.report.interface import Reporter
from backup_agent.report.wire import encode, routing_key

PROGRESS_EVERY = 5.0
"""Seconds between two events of progress in the same phase: each is a write to disk and a message."""


class Recorder:
    """Takes the events of one backup, whose job the journal has, for the thread that carries it out.

    Raises JournalError for an event that has to be kept; progress and warnings that can't be are lost, since a backup
    of hours is worth more.
    """

    def __init__(self, journal: Journal, clock: Clock, also: Reporter) -> None:
        """`also` is told everything, recorded or not."""
        self._journal = journal
        self._clock = clock
        self._also = also
        self._phase: Phase | None = None
        self._recorded = float("-inf")

    def publish(self, event: BackupEvent) -> None:
        self._also.publish(event)
        if event.type is EventType.PROGRESS:
            now = self._clock.monotonic()
            if event.phase is self._phase and now - self._recorded < PROGRESS_EVERY:
                return
            self._phase, self._recorded = event.phase, now
        try:
            with self._journal.transaction() as transaction:
                transaction.record(record_of(event))
        except JournalError as error:
            if event.type not in (EventType.PROGRESS, EventType.WARNING):
                raise
            self._tell_loss(event, error)

    def _tell_loss(self, event: BackupEvent, error: JournalError) -> None:
        self._also.publish(
            event.model_copy(update={"type": EventType.WARNING, "notice": f"an event is lost: {error.message}"})
        )


class InTransaction:
    """Takes events within a transaction that somebody else commits."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def publish(self, event: BackupEvent) -> None:
        self._transaction.record(record_of(event))


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

"""Jobs and events to fill a journal with."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from backup_agent.domain.command import BackupRequest, CreateBackup
from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase, State
from backup_agent.journal.interface import EventRecord, NewJob, Origin
from backup_agent.journal.sqlite import SqliteJournal

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
RECEIVED = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
OWNER = ProcessId(pid=4711, started="boot/100")
ENGINE = ProcessId(pid=4712, started="boot/101")
_STATES = {
    EventType.ACCEPTED: State.NEW,
    EventType.REJECTED: State.FAILED,
    EventType.STARTED: State.BUILDING,
    EventType.PROGRESS: State.BUILDING,
    EventType.WARNING: State.BUILDING,
    EventType.COMPLETED: State.COMPLETED,
    EventType.FAILED: State.FAILED,
}


def new_job(backup_id: str = BACKUP, *, owner: ProcessId | None = None, origin: Origin = Origin.QUEUE) -> NewJob:
    request = BackupRequest(id=backup_id, name="s\u00f6ndag", instance_id=INSTANCE, account_id="1234", incremental=True)
    return NewJob(CreateBackup(backup=request, container="z"), origin, RECEIVED, owner=owner)


def event(
    kind: EventType, sequence: int, backup_id: str = BACKUP, *, phase: Phase | None = None, body: bytes = b""
) -> EventRecord:
    return EventRecord(
        backup_id=backup_id,
        type=kind,
        sequence=sequence,
        state=_STATES[kind],
        phase=phase,
        routing_key=f"{INSTANCE}.{kind}",
        body=body or f"{kind} {sequence}".encode(),
    )


def put(journal: SqliteJournal, *events: EventRecord) -> None:
    """Each in a transaction of its own."""
    for one in events:
        with journal.transaction() as transaction:
            transaction.record(one)


def add(journal: SqliteJournal, *events: EventType, backup_id: str | None = None) -> str:
    """A job and the events of these kinds, numbered from 1; its id."""
    backup_id = backup_id or str(uuid.uuid4())
    with journal.transaction() as transaction:
        transaction.add(new_job(backup_id))
    put(journal, *(event(kind, sequence, backup_id) for sequence, kind in enumerate(events, 1)))
    return backup_id


def bodies(journal: SqliteJournal) -> list[str]:
    """What waits in the outbox."""
    return [one.body.decode() for one in journal.pending(100)]

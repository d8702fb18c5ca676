"""What the journal remembers of commands other than backup.create, and of backups that it is told of by them."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from backup_agent.domain.event import EventType
from backup_agent.domain.state import State
from backup_agent.journal.interface import EventRecord, Origin
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.journal.tasks import LastTold, NewTask, Task, TaskState
from tests.unit.journal.commands import BACKUP, INSTANCE, OWNER, RECEIVED, add, bodies

OTHER = "00000000-0000-4000-8000-000000000000"
NEW = NewTask("urn:x 1", "backup.delete", BACKUP, '{"backup_id": "x"}', Origin.QUEUE, RECEIVED, beside=(OTHER,))


def deleted(sequence: int, backup_id: str = BACKUP, *, state: State = State.DELETED) -> EventRecord:
    body = f"deleted {sequence}".encode()
    return EventRecord(backup_id, EventType.DELETED, sequence, state, None, f"{INSTANCE}.backup.deleted", body)


def the_task(journal: SqliteJournal) -> Task:
    (task,) = journal.tasks()
    return task


def put(journal: SqliteJournal, task: NewTask = NEW) -> None:
    with journal.transaction() as transaction:
        transaction.tasks.add(task)


def test_a_task_is_found_as_it_was_added_after_a_restart(journal: SqliteJournal, path: Path) -> None:
    put(journal)
    journal.close()
    reopened = SqliteJournal(path, outbox=True)
    task = the_task(reopened)
    reopened.close()
    assert (task.id, task.kind, task.backup_id, task.command) == (NEW.id, NEW.kind, BACKUP, NEW.command)
    assert (task.origin, task.received, task.expires, task.beside) == (Origin.QUEUE, RECEIVED, None, (OTHER,))
    assert (task.state, task.owner, task.attempts, task.notes) == (TaskState.WAITING, None, 0, None)


def test_a_task_goes_on_with_what_was_noted_and_counts_the_attempts_that_died(journal: SqliteJournal) -> None:
    put(journal)
    with journal.transaction() as transaction:
        transaction.tasks.begin(NEW.id, OWNER)
        transaction.tasks.note(NEW.id, "half of it")
    running = the_task(journal)
    with journal.transaction() as transaction:
        transaction.tasks.release(NEW.id, counts=True)
    died = the_task(journal)
    with journal.transaction() as transaction:
        transaction.tasks.begin(NEW.id, OWNER)
        transaction.tasks.release(NEW.id, counts=False, beside=BACKUP)
    stopped = the_task(journal)

    assert (running.state, running.owner, running.attempts, running.notes) == (
        TaskState.RUNNING,
        OWNER,
        1,
        "half of it",
    )
    assert (died.state, died.owner, died.attempts, died.notes) == (TaskState.WAITING, None, 1, "half of it")
    assert (stopped.attempts, stopped.beside) == (1, (OTHER, BACKUP))


def test_the_end_of_a_task_and_its_event_are_one_and_can_be_told_again(journal: SqliteJournal) -> None:
    put(journal)
    with journal.transaction() as transaction:
        transaction.tasks.begin(NEW.id, OWNER)
        transaction.tasks.end(NEW.id, deleted(7), succeeded=True)
    assert journal.tasks() == []
    with journal.transaction() as transaction:
        found = transaction.tasks.find(NEW.id)
        transaction.tasks.replay(NEW.id)
    assert found is not None
    assert (found.state, found.owner, found.notes) == (TaskState.SUCCEEDED, None, None)
    assert bodies(journal) == ["deleted 7", "deleted 7"]


def test_a_task_that_is_undone_has_not_ended_and_nothing_is_told(journal: SqliteJournal) -> None:
    put(journal)
    with suppress(RuntimeError), journal.transaction() as transaction:
        transaction.tasks.end(NEW.id, deleted(7), succeeded=True)
        raise RuntimeError("undone")
    assert the_task(journal).state is TaskState.WAITING
    assert bodies(journal) == []


def test_an_event_of_a_task_counts_on_from_those_of_the_backup_and_becomes_its_last(journal: SqliteJournal) -> None:
    add(journal, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    put(journal)
    with journal.transaction() as transaction:
        assert transaction.backups.last(BACKUP) == LastTold(2, State.COMPLETED)
        with pytest.raises(ValueError, match="comes after event 2"):
            transaction.backups.tell(deleted(2))
        transaction.tasks.end(NEW.id, deleted(3), succeeded=True)
    job = journal.job(BACKUP)
    assert job is not None
    assert (job.state, job.sequence, job.last_event) == (State.DELETED, 3, b"deleted 3")
    assert journal.active() == []
    assert journal.last_completed() is None


def test_what_changes_nothing_of_a_backup_does_not_become_its_last_event(journal: SqliteJournal) -> None:
    add(journal, EventType.COMPLETED, backup_id=BACKUP)
    with journal.transaction() as transaction:
        transaction.backups.tell(deleted(2, state=State.COMPLETED))
    job = journal.job(BACKUP)
    assert job is not None
    assert (job.sequence, job.last_event) == (2, b"backup.completed 1")


def test_a_backup_that_is_being_made_is_told_of_by_who_makes_it_alone(journal: SqliteJournal) -> None:
    add(journal, EventType.STARTED, backup_id=BACKUP)
    with journal.transaction() as transaction, pytest.raises(ValueError, match="still being made"):
        transaction.backups.tell(deleted(2))


def test_a_backup_that_the_journal_has_no_job_of_is_remembered_once_it_was_told_of(journal: SqliteJournal) -> None:
    with journal.transaction() as transaction:
        assert transaction.backups.last(OTHER) is None
        transaction.backups.tell(deleted(1_795_000_000, OTHER))
    with journal.transaction() as transaction:
        assert transaction.backups.last(OTHER) == LastTold(1_795_000_000, State.DELETED)
        transaction.backups.tell(deleted(1_795_000_001, OTHER))
    assert bodies(journal) == ["deleted 1795000000", "deleted 1795000001"]


def test_an_unknown_task_is_refused_and_a_known_id_is_not_taken_twice(journal: SqliteJournal) -> None:
    put(journal)
    with journal.transaction() as transaction:
        with pytest.raises(ValueError, match="has a task"):
            transaction.tasks.add(NEW)
        with pytest.raises(ValueError, match="has no task x"):
            transaction.tasks.begin("x", OWNER)
        with pytest.raises(ValueError, match="has no task x"):
            transaction.tasks.release("x", counts=True)
        with pytest.raises(ValueError, match="has no task x"):
            transaction.tasks.end("x", None, succeeded=True)
        assert transaction.tasks.find("x") is None


def test_open_tasks_are_in_a_snapshot_and_ended_ones_are_forgotten_in_time(journal: SqliteJournal) -> None:
    put(journal)
    assert [task.id for task in journal.snapshot().tasks] == [NEW.id]
    with journal.transaction() as transaction:
        transaction.tasks.end(NEW.id, deleted(9), succeeded=True)
    assert journal.snapshot().tasks == []
    for event in journal.pending(10):
        journal.confirmed(event.id)
    journal.forget_before(RECEIVED + timedelta(days=1))
    with journal.transaction() as transaction:
        assert transaction.tasks.find(NEW.id) is None
        assert transaction.backups.last(BACKUP) is None

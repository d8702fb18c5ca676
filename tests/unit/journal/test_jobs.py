"""What the journal remembers of jobs, also after it was closed and opened again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase, State
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.journal.interface import Job, NewJob, Origin, Transaction
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, ENGINE, OWNER, RECEIVED, add, bodies, event, new_job, put
from tests.unit.journal.conftest import Watch

OTHER = "00000000-0000-4000-8000-000000000000"


def the_job(journal: SqliteJournal, backup_id: str = BACKUP) -> Job:
    found = journal.job(backup_id)
    assert found is not None
    return found


def again(path: Path) -> SqliteJournal:
    return SqliteJournal(path, outbox=True)


def test_a_job_is_found_as_it_was_added_after_a_restart(journal: SqliteJournal, path: Path) -> None:
    expires = RECEIVED + timedelta(hours=6)
    with journal.transaction() as transaction:
        transaction.add(NewJob(new_job().command, Origin.QUEUE, RECEIVED, expires))
    journal.close()

    reopened = again(path)
    job = the_job(reopened)
    reopened.close()

    assert job.command == new_job().command
    assert (job.id, job.origin, job.received, job.expires) == (BACKUP, Origin.QUEUE, RECEIVED, expires)
    assert (job.state, job.phase, job.attempts, job.sequence) == (State.NEW, None, 0, 0)
    assert (job.owner, job.engine, job.cancelled, job.last_event) == (None, None, False, None)


def test_a_job_with_an_owner_is_its_first_attempt(journal: SqliteJournal) -> None:
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=OWNER, origin=Origin.RUN_ONCE))

    job = the_job(journal)
    assert (job.owner, job.attempts, job.origin) == (OWNER, 1, Origin.RUN_ONCE)
    assert job.begun == job.updated


def test_what_is_unknown_is_none(journal: SqliteJournal) -> None:
    assert journal.job(OTHER) is None
    assert journal.jobs(10) == []
    assert journal.last_completed() is None
    with journal.transaction() as transaction:
        assert transaction.job(OTHER) is None
        assert transaction.active() == []


def test_a_new_attempt_has_a_new_owner_and_no_engine_yet(journal: SqliteJournal) -> None:
    second = ProcessId(pid=4800, started="boot/200")
    add(journal, EventType.ACCEPTED, backup_id=BACKUP)
    with journal.transaction() as transaction:
        transaction.begin(BACKUP, OWNER)
        transaction.engine_started(BACKUP, ENGINE)
    put(journal, event(EventType.PROGRESS, 2, phase=Phase.COPYING))
    first = the_job(journal)
    with journal.transaction() as transaction:
        transaction.begin(BACKUP, second)

    assert (first.owner, first.engine, first.attempts, first.progress) == (OWNER, ENGINE, 1, b"backup.progress 2")
    job = the_job(journal)
    assert (job.owner, job.engine, job.attempts, job.progress) == (second, None, 2, None)
    assert first.begun is not None
    assert job.begun is not None
    assert job.begun > first.begun


def test_a_job_that_was_let_go_of_waits_and_keeps_its_count_of_attempts(journal: SqliteJournal) -> None:
    add(journal, EventType.ACCEPTED, backup_id=BACKUP)
    with journal.transaction() as transaction:
        transaction.begin(BACKUP, OWNER)
        transaction.engine_started(BACKUP, ENGINE)
        transaction.record(event(EventType.STARTED, 2))
        transaction.record(event(EventType.PROGRESS, 3))
        transaction.release(BACKUP)
        assert [job.id for job in transaction.active()] == [BACKUP]

    job = the_job(journal)
    assert (job.owner, job.engine, job.attempts, job.progress) == (None, None, 1, None)
    assert (job.state, job.sequence) == (State.BUILDING, 3)


def test_events_bring_the_job_to_their_state_and_phase(journal: SqliteJournal) -> None:
    add(journal, EventType.ACCEPTED, backup_id=BACKUP)
    seen = []
    for one in (
        event(EventType.STARTED, 2, phase=Phase.LOCKING),
        event(EventType.PROGRESS, 3, phase=Phase.COPYING),
        event(EventType.WARNING, 5),
        event(EventType.COMPLETED, 9),
    ):
        put(journal, one)
        job = the_job(journal)
        seen.append((job.state, job.phase, job.sequence))

    assert seen == [
        (State.BUILDING, Phase.LOCKING, 2),
        (State.BUILDING, Phase.COPYING, 3),
        (State.BUILDING, Phase.COPYING, 5),
        (State.COMPLETED, Phase.COPYING, 9),
    ]


def test_a_job_is_remembered_by_its_last_event_but_progress_and_warnings(journal: SqliteJournal) -> None:
    add(journal, EventType.STARTED, EventType.PROGRESS, EventType.WARNING, backup_id=BACKUP)
    assert the_job(journal).last_event == b"backup.started 1"
    assert the_job(journal).progress == b"backup.progress 2"

    put(journal, event(EventType.FAILED, 4))
    assert the_job(journal).last_event == b"backup.failed 4"
    assert the_job(journal).progress is None


@pytest.mark.parametrize("end", [EventType.COMPLETED, EventType.FAILED, EventType.REJECTED])
def test_a_job_that_has_ended_has_neither_owner_nor_engine_and_is_not_active(
    journal: SqliteJournal, end: EventType
) -> None:
    add(journal, EventType.ACCEPTED, backup_id=BACKUP)
    with journal.transaction() as transaction:
        transaction.begin(BACKUP, OWNER)
        transaction.engine_started(BACKUP, ENGINE)
        assert [job.id for job in transaction.active()] == [BACKUP]
        transaction.record(event(end, 2))
        assert transaction.active() == []

    job = the_job(journal)
    assert (job.owner, job.engine, job.attempts) == (None, None, 1)


def test_the_active_ones_come_oldest_first_and_all_newest_first(journal: SqliteJournal) -> None:
    first = add(journal, EventType.ACCEPTED)
    ended = add(journal, EventType.REJECTED)
    last = add(journal)
    with journal.transaction() as transaction:
        assert [job.id for job in transaction.active()] == [first, last]
    assert [job.id for job in journal.jobs(10)] == [last, ended, first]
    assert [job.id for job in journal.jobs(1)] == [last]


def test_the_backup_that_completed_last_is_not_the_one_that_was_asked_for_last(journal: SqliteJournal) -> None:
    slow = add(journal, EventType.STARTED)
    add(journal, EventType.STARTED, EventType.COMPLETED)
    put(journal, event(EventType.COMPLETED, 2, slow))
    add(journal, EventType.STARTED, EventType.FAILED)

    last = journal.last_completed()
    assert last is not None
    assert last.id == slow


def test_a_cancel_is_noted_and_does_not_move_the_time_of_an_end(journal: SqliteJournal) -> None:
    running = add(journal, EventType.STARTED)
    ended = add(journal, EventType.STARTED, EventType.FAILED)
    before = the_job(journal, ended).updated
    with journal.transaction() as transaction:
        transaction.cancel(running)
        transaction.cancel(ended)

    assert the_job(journal, running).cancelled
    assert the_job(journal, ended).updated == before


def test_an_id_can_be_added_once(journal: SqliteJournal) -> None:
    add(journal, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    with pytest.raises(ValueError, match=BACKUP), journal.transaction() as transaction:
        transaction.add(new_job(BACKUP))
    assert the_job(journal).state is State.COMPLETED


@pytest.mark.parametrize(
    "write",
    [
        lambda one: one.begin(OTHER, OWNER),
        lambda one: one.engine_started(OTHER, ENGINE),
        lambda one: one.cancel(OTHER),
        lambda one: one.record(event(EventType.STARTED, 1, OTHER)),
    ],
)
def test_nothing_is_written_of_a_job_it_does_not_have(
    journal: SqliteJournal, write: Callable[[Transaction], None]
) -> None:
    with pytest.raises(ValueError, match=OTHER), journal.transaction() as transaction:
        write(transaction)
    assert journal.depth() == 0


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_event_whose_number_does_not_rise_is_refused(journal: SqliteJournal, sequence: int) -> None:
    add(journal, EventType.ACCEPTED, EventType.STARTED, backup_id=BACKUP)
    with pytest.raises(ValueError, match=BACKUP), journal.transaction() as transaction:
        transaction.record(event(EventType.FAILED, sequence))
    assert the_job(journal).state is State.BUILDING


def test_a_transaction_left_by_an_error_changes_nothing(journal: SqliteJournal) -> None:
    def spoiled() -> None:
        with journal.transaction() as transaction:
            transaction.add(new_job())
            transaction.record(event(EventType.ACCEPTED, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spoiled()
    assert journal.job(BACKUP) is None
    assert journal.depth() == 0
    assert not journal.wait(0)


def test_a_transaction_that_has_ended_can_not_be_used(journal: SqliteJournal) -> None:
    with journal.transaction() as transaction:
        pass
    with pytest.raises(RuntimeError):
        transaction.add(new_job())
    with pytest.raises(RuntimeError):
        transaction.active()


def test_a_transaction_within_a_transaction_is_refused_at_once(journal: SqliteJournal) -> None:
    with journal.transaction() as outer:
        outer.add(new_job())
        with pytest.raises(RuntimeError), journal.transaction():
            pytest.fail("it would wait for itself")
    assert journal.job(BACKUP) is not None


def test_ended_jobs_are_forgotten_but_those_with_events_to_tell_and_the_last_of_their_kind(
    journal: SqliteJournal, watch: Watch
) -> None:
    old = [add(journal, EventType.STARTED, end) for end in (EventType.COMPLETED, EventType.FAILED)]
    lasting = [add(journal, EventType.STARTED, end) for end in (EventType.COMPLETED, EventType.FAILED)]
    for one in journal.pending(100):
        journal.confirmed(one.id)
    untold = add(journal, EventType.STARTED, EventType.FAILED)
    active = add(journal)
    add(journal, EventType.STARTED, EventType.FAILED)
    moment = watch()

    assert journal.forget_before(RECEIVED) == 0
    assert journal.forget_before(moment) == 3
    assert journal.forget_before(moment) == 0
    remembered = {job.id for job in journal.jobs(10)}
    assert remembered & {*old, *lasting, untold, active} == {lasting[0], untold, active}


def test_a_snapshot_holds_all_of_one_moment(journal: SqliteJournal) -> None:
    completed = add(journal, EventType.STARTED, EventType.COMPLETED)
    rejected = add(journal, EventType.REJECTED)
    add(journal, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    active = [add(journal, EventType.STARTED), add(journal)]

    found = journal.snapshot()
    assert [job.id for job in found.active] == active
    assert (found.last_completed, found.last_failed) == (the_job(journal), the_job(journal, rejected))
    assert found.outbox_depth == len(bodies(journal)) == 6
    assert found.outcomes == {EventType.COMPLETED: 2, EventType.REJECTED: 1}
    assert found.outbox_oldest is not None
    assert RECEIVED < found.since < found.outbox_oldest < the_job(journal, completed).updated


def test_a_snapshot_counts_what_was_forgotten(journal: SqliteJournal, watch: Watch) -> None:
    for _ in range(3):
        add(journal, EventType.STARTED, EventType.FAILED)
    for one in journal.pending(100):
        journal.confirmed(one.id)
    assert journal.forget_before(watch()) == 2
    found = journal.snapshot()
    assert found.outcomes == {EventType.FAILED: 3}
    assert (found.outbox_depth, found.outbox_oldest) == (0, None)


def test_a_closed_journal_says_so(journal: SqliteJournal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed") as caught:
        journal.job(BACKUP)
    assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE

"""The events that wait to be told: in order, complete, and no progress that is out of date."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from backup_agent.domain.event import EventType
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, INSTANCE, add, bodies, event, put


def test_events_wait_in_the_order_of_their_transactions_after_a_restart(journal: SqliteJournal, path: Path) -> None:
    other = add(journal, EventType.ACCEPTED, EventType.STARTED)
    add(journal, EventType.ACCEPTED, backup_id=BACKUP)
    put(journal, event(EventType.WARNING, 3, other), event(EventType.REJECTED, 2))
    journal.close()

    reopened = SqliteJournal(path, outbox=True)
    waiting = reopened.pending(100)
    assert [one.body for one in reopened.pending(2)] == [b"backup.accepted 1", b"backup.started 2"]
    reopened.close()

    assert [(one.backup_id, one.body) for one in waiting] == [
        (other, b"backup.accepted 1"),
        (other, b"backup.started 2"),
        (BACKUP, b"backup.accepted 1"),
        (other, b"backup.warning 3"),
        (BACKUP, b"backup.rejected 2"),
    ]
    assert [one.id for one in waiting] == sorted(one.id for one in waiting)
    assert waiting[-1].routing_key == f"{INSTANCE}.backup.rejected"
    assert waiting[-1].type is EventType.REJECTED


def test_a_told_event_is_gone_and_its_number_never_comes_again(journal: SqliteJournal) -> None:
    add(journal, EventType.ACCEPTED, EventType.STARTED, backup_id=BACKUP)
    told = journal.pending(2)
    for one in told:
        journal.confirmed(one.id)
        journal.confirmed(one.id)
    put(journal, event(EventType.FAILED, 3))
    journal.confirmed(told[-1].id)

    assert bodies(journal) == ["backup.failed 3"]
    assert journal.depth() == 1


def test_progress_replaces_progress_of_the_same_backup_and_nothing_else(journal: SqliteJournal) -> None:
    other = add(journal, EventType.STARTED, EventType.PROGRESS)
    add(journal, EventType.ACCEPTED, EventType.STARTED, backup_id=BACKUP)
    first, *_ = (one for one in journal.pending(10) if one.type is EventType.PROGRESS)
    for sequence in range(3, 50):
        put(journal, event(EventType.WARNING if sequence == 20 else EventType.PROGRESS, sequence))
    put(journal, event(EventType.COMPLETED, 50), event(EventType.PROGRESS, 3, other))

    assert bodies(journal) == [
        "backup.started 1",
        "backup.accepted 1",
        "backup.started 2",
        "backup.warning 20",
        "backup.progress 49",
        "backup.completed 50",
        "backup.progress 3",
    ]
    journal.confirmed(first.id)  # it was under way while it was replaced
    assert journal.depth() == 7


def test_a_replay_tells_the_last_event_once_more(journal: SqliteJournal) -> None:
    add(journal, EventType.STARTED, EventType.WARNING, EventType.COMPLETED, backup_id=BACKUP)
    silent = add(journal)
    for one in journal.pending(10):
        journal.confirmed(one.id)
    with journal.transaction() as transaction:
        transaction.replay(BACKUP)
        transaction.replay(silent)

    (replayed,) = journal.pending(10)
    assert (replayed.body, replayed.type) == (b"backup.completed 3", EventType.COMPLETED)
    assert replayed.routing_key == f"{INSTANCE}.backup.completed"


def test_without_an_outbox_nothing_waits_and_the_job_is_remembered_all_the_same(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite", outbox=False)
    add(journal, EventType.STARTED, EventType.COMPLETED, backup_id=BACKUP)
    with journal.transaction() as transaction:
        transaction.replay(BACKUP)
    job = journal.job(BACKUP)

    assert journal.depth() == 0
    assert not journal.wait(0)
    assert job is not None
    assert job.last_event == b"backup.completed 2"
    journal.close()


def test_whoever_waits_learns_of_an_event_once(journal: SqliteJournal) -> None:
    assert not journal.wait(0)
    add(journal)
    assert not journal.wait(0)
    add(journal, EventType.ACCEPTED, EventType.STARTED)
    assert journal.wait(60)
    assert not journal.wait(0)


def test_whoever_waits_is_woken_by_an_event_and_finds_it(journal: SqliteJournal) -> None:
    found: list[list[str]] = []

    def publish() -> None:
        while not (waiting := bodies(journal)):
            journal.wait(60)
        found.append(waiting)

    publisher = threading.Thread(target=publish)
    publisher.start()
    add(journal, EventType.ACCEPTED)
    publisher.join(30)
    assert found == [["backup.accepted 1"]]


def test_closing_wakes_whoever_waits(journal: SqliteJournal) -> None:
    began = time.monotonic()
    answers: list[bool] = []
    publisher = threading.Thread(target=lambda: answers.append(journal.wait(60)))
    publisher.start()
    journal.close()
    publisher.join(30)
    assert answers == [False]
    assert time.monotonic() - began < 30

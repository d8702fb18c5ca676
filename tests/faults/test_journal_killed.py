"""Processes that die while they write, and several that write at once: what was acknowledged is there, once."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack
from pathlib import Path

from backup_agent.domain.event import EventType
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.faults.journal_process import numbered
from tests.faults.journals import said, sound, worker
from tests.unit.journal.commands import BACKUP, add, event

ROUNDS = 20
SEED = 20261125


def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    choice = random.Random(SEED)
    for _ in range(ROUNDS):
        with worker("write", path) as process:
            for _ in range(choice.randint(1, 12)):
                acknowledged = int(said(process))
            process.kill()
            process.wait()
            assert process.stdout is not None
            acknowledged = max([acknowledged, *(int(line) for line in process.stdout)])

        found = JournalReader(path).snapshot()
        assert len(found.active) in (acknowledged + 1, acknowledged + 2)
        assert [job.id for job in found.active] == [numbered(number) for number in range(len(found.active))]
        assert found.outbox_depth == len(found.active)
    assert sound(path)

    journal = SqliteJournal(path, outbox=True)
    told = [int(one.body[: len(one.body) // 1000]) for one in journal.pending(10_000)]
    journal.close()
    assert told == list(range(len(told)))


def test_a_process_killed_within_a_transaction_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path, outbox=True)
    for _ in range(5):
        with worker("write", path) as process:
            said(process)
        add(journal, EventType.STARTED)
    journal.close()
    assert sound(path)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED, backup_id=BACKUP)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker("count", path)) for _ in range(4)]
        for process in workers:
            assert said(process) == "ready"
        for process in workers:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait(120) for process in workers] == [0] * 4

    assert [one.body.decode() for one in journal.pending(1000)] == [
        "backup.started 1",
        *(f"backup.warning {sequence}" for sequence in range(2, 202)),
    ]
    journal.close()
    assert sound(path)


def count(journal: SqliteJournal) -> None:
    for _ in range(50):
        with journal.transaction() as transaction:
            job = transaction.job(BACKUP)
            assert job is not None
            transaction.record(event(EventType.WARNING, job.sequence + 1))


def look(journal: SqliteJournal, over: threading.Event, seen: list[tuple[int, int]]) -> None:
    while not over.is_set():
        found = journal.snapshot()
        seen.append((found.active[0].sequence, found.outbox_depth))


def publish(journal: SqliteJournal, over: threading.Event, told: list[int]) -> None:
    while not over.is_set() or journal.depth():
        for one in journal.pending(10):
            told.append(one.id)
            journal.confirmed(one.id)
        journal.wait(0.1)


def test_threads_that_write_and_read_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED, backup_id=BACKUP)
    over = threading.Event()
    seen: list[tuple[int, int]] = []
    told: list[int] = []
    writers = [threading.Thread(target=count, args=(journal,)) for _ in range(4)]
    others = [
        threading.Thread(target=look, args=(journal, over, seen)),
        threading.Thread(target=publish, args=(journal, over, told)),
    ]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join(120)
    over.set()
    for thread in others:
        thread.join(60)
    job = journal.job(BACKUP)
    journal.close()

    assert job is not None
    assert job.sequence == 201
    assert told == list(range(1, 202))
    assert all(depth <= sequence for sequence, depth in seen)
    assert [sequence for sequence, _ in seen] == sorted(sequence for sequence, _ in seen)
    assert list(tmp_path.iterdir()) == [path]

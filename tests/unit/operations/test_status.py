"""What is shown of an agent, whether it runs or not."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_agent.domain.event import EventError, EventType
from backup_agent.domain.manifest import BackupType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.instance.process import lives, process_id, this_process
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.operations.status import Sources, Status
from backup_agent.operations.status import status as look
from tests.unit.journal.commands import BACKUP, INSTANCE, RECEIVED, add, event, new_job, put

ERROR: dict[str, Any] = {"code": "store_full", "message": "the store is full", "hint": "make room"}


def body(**data: object) -> bytes:
    fields = {"percent": 0, "bytes_read": 0, "bytes_stored": 0, "lock": None, "error": None, **data}
    return json.dumps({"data": fields}).encode()


def me() -> ProcessId:
    return this_process()


def status_of(path: Path, now: datetime | None = None) -> Status:
    return look(Sources(INSTANCE, JournalReader(path), lambda: None), now or datetime.now(UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_without_a_journal_the_agent_was_never_used() -> None:
    assert look(Sources(INSTANCE, None, lambda: None), RECEIVED) == Status(INSTANCE, used=False)


def test_a_running_backup_is_shown_with_its_progress_and_its_process(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=me()))
        transaction.record(event(EventType.STARTED, 1, phase=Phase.LOCKING))
    put(journal, event(EventType.PROGRESS, 2, phase=Phase.COPYING, body=body(percent=42)))

    found = status_of(path)
    job = journal.job(BACKUP)
    journal.close()
    (running,) = found.running
    assert (running.id, running.name, running.type) == (BACKUP, "s\u00f6ndag", BackupType.INCREMENTAL)
    assert (running.phase, running.percent, running.attempts) == (Phase.COPYING, 42, 1)
    assert (running.process, running.lives, running.cancelled) == (me(), True, False)
    assert job is not None
    assert running.since == job.begun
    assert found.waiting == ()


def test_a_backup_whose_process_is_gone_is_shown_as_such(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = process_id(process.pid)
        assert owner is not None
        assert lives(owner)
        process.communicate(b"\n")
    journal = SqliteJournal(path, outbox=True)
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=owner))
        transaction.record(event(EventType.STARTED, 1, phase=Phase.LOCKING))
        transaction.cancel(BACKUP)
    journal.close()

    (running,) = status_of(path).running
    assert (running.process, running.lives, running.percent, running.cancelled) == (owner, False, None, True)


def test_a_backup_that_is_to_be_taken_again_waits(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=me()))
        transaction.record(event(EventType.STARTED, 1, phase=Phase.LOCKING))
        transaction.release(BACKUP)
    journal.close()
    found = status_of(path)
    assert found.running == ()
    assert [one.id for one in found.waiting] == [BACKUP]


def test_waiting_backups_the_outbox_and_the_last_ends_are_shown(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True, now=lambda: RECEIVED)
    completed = add(journal, EventType.STARTED)
    failed = add(journal, EventType.STARTED)
    put(journal, event(EventType.COMPLETED, 2, completed, body=body(percent=100)))
    put(journal, event(EventType.FAILED, 2, failed, body=body(error=ERROR)))
    waiting = add(journal, EventType.ACCEPTED)
    journal.close()

    found = status_of(path, RECEIVED + timedelta(minutes=5))
    assert [one.id for one in found.waiting] == [waiting]
    assert found.running == ()
    assert (found.outbox_depth, found.outbox_oldest) == (5, timedelta(minutes=5))
    assert found.last_completed is not None
    assert found.last_failed is not None
    assert (found.last_completed.id, found.last_completed.error) == (completed, None)
    assert (found.last_failed.id, found.last_failed.error) == (failed, EventError.model_validate(ERROR))
    assert found.last_failed.at == RECEIVED


def test_a_clock_that_was_set_back_gives_no_negative_age(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True, now=lambda: RECEIVED)
    add(journal, EventType.ACCEPTED)
    journal.close()
    assert status_of(path, RECEIVED - timedelta(hours=1)).outbox_oldest == timedelta()


def test_an_event_that_is_none_is_an_error(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED, EventType.FAILED, backup_id=BACKUP)
    journal.close()
    with pytest.raises(JournalError, match=BACKUP) as caught:
        status_of(path)
    assert caught.value.code is ErrorCode.JOURNAL_CORRUPT

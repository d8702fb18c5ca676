"""Looking at a journal: whoever may read it sees all of it, and nothing is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.domain.event import EventType
from backup_agent.domain.state import State
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.journal.interface import EventRecord
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, add
from tests.unit.journal.test_file import CASES, Spoil, killed, sql, written

Looks = dict[str, tuple[int, int, int]]


def looks(path: Path) -> Looks:
    found = {}
    for one in [path.parent, *path.parent.iterdir()]:
        status = one.stat()
        found[one.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def test_there_is_none_before_the_first_use(path: Path) -> None:
    reader = JournalReader(path)
    assert not reader.exists()
    assert not path.parent.exists()
    written(path)
    assert reader.exists()


def test_a_journal_in_use_is_seen_as_it_is_now(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    reader = JournalReader(path)
    for depth in range(1, 4):
        add(journal, EventType.STARTED)
        before = looks(path)
        assert reader.snapshot() == journal.snapshot()
        assert reader.snapshot().outbox_depth == depth
        assert looks(path) == before
    journal.close()


def test_backups_that_completed_are_remembered_until_they_are_deleted(path: Path) -> None:
    reader = JournalReader(path)
    assert reader.completed() == ()
    journal = SqliteJournal(path, outbox=True)
    kept = add(journal, EventType.STARTED, EventType.COMPLETED)
    gone = add(journal, EventType.STARTED, EventType.COMPLETED)
    add(journal, EventType.STARTED, EventType.FAILED)
    add(journal, EventType.STARTED)
    last = journal.job(kept)
    assert last is not None
    assert reader.completed() == [last.last_event] * 2  # both are `completed 2`
    with journal.transaction() as transaction:
        for backup_id, state in ((kept, State.COMPLETED), (gone, State.DELETED)):
            told = EventRecord(backup_id, EventType.DELETED, 3, state, None, "key", b"told later")
            transaction.backups.tell(told)
    assert reader.completed() == [last.last_event]
    journal.close()


def test_a_journal_nobody_uses_is_read_and_not_touched(path: Path) -> None:
    written(path)
    before = looks(path)
    assert JournalReader(path).snapshot().outbox_depth == 20
    assert looks(path) == before
    assert list(before) == ["agent", path.name]


def test_a_killed_process_journal_is_read_to_its_last_transaction_and_not_touched(path: Path) -> None:
    killed(path)
    before = looks(path)
    found = JournalReader(path).snapshot()
    assert found.active[-1].id == BACKUP
    assert looks(path) == before
    assert len(before) == 4


def test_writing_goes_on_while_somebody_looks(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    reader = JournalReader(path)
    with journal.transaction():
        assert reader.snapshot().active == []
    journal.close()


def test_without_the_shm_file_a_killed_process_journal_can_not_be_read_and_the_error_says_what_helps(
    path: Path,
) -> None:
    killed(path)
    Path(f"{path}-shm").unlink()
    with pytest.raises(JournalError, match="-shm") as caught:
        JournalReader(path).snapshot()
    assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE
    assert "run-once" in caught.value.hint


@pytest.mark.parametrize(("kind", "spoil"), [case for case in CASES if case.id != "only its last transactions"])
def test_what_is_not_as_it_was_written_is_left_where_it_is(path: Path, kind: str, spoil: Spoil) -> None:
    del kind
    written(path)
    spoil(path)
    before = looks(path)
    with capture_logs() as lines, pytest.raises(JournalError, match="left where it is") as caught:
        JournalReader(path).snapshot()
    assert caught.value.code is ErrorCode.JOURNAL_CORRUPT
    assert looks(path) == before
    assert lines == []


def test_a_newer_journal_is_refused(path: Path) -> None:
    written(path)
    sql("PRAGMA user_version = 99")(path)
    with pytest.raises(JournalError) as caught:
        JournalReader(path).snapshot()
    assert caught.value.code is ErrorCode.JOURNAL_NEWER


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_journal_of_others_can_not_be_seen(path: Path) -> None:
    written(path)
    path.parent.chmod(0)
    try:
        with pytest.raises(JournalError) as caught:
            JournalReader(path).exists()
    finally:
        path.parent.chmod(0o700)
    assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE
    assert "root" in caught.value.hint

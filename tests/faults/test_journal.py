"""Disks and permissions that fail the journal: the error says so, and nothing that was written is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_agent.domain.event import EventType
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.faults.disks import IS_ROOT, files_limited_to, remount_read_only, small_disk
from tests.faults.journal_process import BIG
from tests.faults.journals import obeyed, run, sound, worker
from tests.unit.journal.commands import BACKUP, add, event, put
from tests.unit.journal.test_file import killed, written

NOBODY = 65534
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can mount a small disk or become another user")


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can enter; pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_files_that_may_not_grow_are_an_error_and_what_was_committed_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    *committed, error = run("fill", path, *files_limited_to(1 << 20))
    assert error.startswith("journal_unusable ")
    assert str(tmp_path) in error.partition("|")[2]

    journal = SqliteJournal(path, outbox=True)
    assert [len(one.body) for one in journal.pending(1000)] == [BIG] * len(committed)
    add(journal, EventType.STARTED)
    journal.close()
    assert len(committed) > 5
    assert sound(path)


@needs_root
def test_on_a_full_disk_nothing_is_acknowledged_and_with_room_again_it_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2) as disk:
        path = disk / "journal.sqlite"
        (disk / "others").write_bytes(bytes(1 << 20))
        journal = SqliteJournal(path, outbox=True)
        add(journal, EventType.STARTED, backup_id=BACKUP)
        warnings = [event(EventType.WARNING, sequence, body=bytes(BIG)) for sequence in range(2, 100)]
        with pytest.raises(JournalError) as caught:
            put(journal, *warnings)
        sequence = journal.snapshot().active[0].sequence
        for _ in range(3):
            with pytest.raises(JournalError):
                put(journal, event(EventType.WARNING, sequence + 1, body=bytes(BIG)))
        assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE
        assert "full" in caught.value.message
        assert f"Make room on the file system of {disk}" in caught.value.hint
        assert journal.depth() == sequence

        (disk / "others").unlink()
        put(journal, event(EventType.FAILED, sequence + 1))
        assert journal.depth() == sequence + 1
        journal.close()
        assert sound(path)


@needs_root
def test_a_journal_that_can_not_be_made_for_want_of_room_leaves_nothing_at_its_path(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        (disk / "others").write_bytes(bytes((1 << 20) - 8192))
        with pytest.raises(JournalError) as caught:
            SqliteJournal(disk / "journal.sqlite", outbox=True)
        assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE
        assert not (disk / "journal.sqlite").exists()
        (disk / "others").unlink()
        SqliteJournal(disk / "journal.sqlite", outbox=True).close()


@needs_root
def test_on_a_read_only_disk_it_can_be_looked_at_and_not_used(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2) as disk:
        path = disk / "journal.sqlite"
        written(path)
        remount_read_only(disk)
        assert JournalReader(path).snapshot().outbox_depth == 20
        with pytest.raises(JournalError) as caught:
            SqliteJournal(path, outbox=True)
        with pytest.raises(JournalError, match="Read-only file system"):
            SqliteJournal(disk / "other.sqlite", outbox=True)
        assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE
        assert str(disk) in caught.value.hint


@needs_root
def test_root_and_the_service_s_user_share_a_journal(public: Path) -> None:
    directory = public / "agent"
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, NOBODY)
    path = directory / "journal.sqlite"
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED)
    with worker("obey", path, user=NOBODY) as service:
        assert obeyed(service) == "1"
        add(journal, EventType.STARTED)
        assert obeyed(service) == "2"
    journal.close()

    with worker("obey", path, user=NOBODY) as service:
        assert obeyed(service) == "4"
    assert {one.stat().st_uid for one in directory.iterdir()} == {NOBODY}


@needs_root
def test_a_journal_of_another_user_is_refused_and_left_alone(public: Path) -> None:
    path = public / "journal.sqlite"
    written(path)
    before = path.read_bytes()
    for mode in ("write", "look"):
        (line,) = run(mode, path, user=NOBODY)
        assert line.startswith("journal_unusable ")
        assert "as the user of the agent's service" in line
    public.chmod(0o700)
    for mode in ("write", "look"):
        (line,) = run(mode, path, user=NOBODY)
        assert line.startswith("journal_unusable ")
        assert "Permission denied" in line
    assert path.read_bytes() == before
    assert [one.name for one in public.iterdir()] == [path.name]


@needs_root
@pytest.mark.parametrize("left", [written, killed])
def test_whoever_may_read_a_journal_but_not_write_it_sees_all_of_it(public: Path, left: Callable[[Path], None]) -> None:
    path = public / "journal.sqlite"
    left(path)
    for one in public.iterdir():
        one.chmod(0o644)
    before = {one.name: one.stat().st_mtime_ns for one in public.iterdir()}
    assert run("look", path, user=NOBODY) == ["20" if left is written else "21"]
    assert {one.name: one.stat().st_mtime_ns for one in public.iterdir()} == before

    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED)
    assert run("look", path, user=NOBODY) == [str(journal.depth())]
    journal.close()

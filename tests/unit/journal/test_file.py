"""The journal's file: whose it is, and what becomes of one that is not as it was written."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.domain.event import EventType
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, add, event, new_job

Spoil = Callable[[Path], object]
PAGE = 4096


def written(path: Path) -> None:
    """A journal of some pages."""
    journal = SqliteJournal(path, outbox=True)
    with journal.transaction() as transaction:
        for backup_id in (str(uuid.uuid4()) for _ in range(20)):
            transaction.add(new_job(backup_id))
            transaction.record(event(EventType.STARTED, 1, backup_id))
    journal.close()


def killed(path: Path) -> None:
    """A journal whose last transactions are in the -wal file, as a killed process leaves it."""
    written(path)
    journal = SqliteJournal(path, outbox=True)
    add(journal, EventType.STARTED, backup_id=BACKUP)
    kept = [(end, Path(f"{path}{end}").read_bytes()) for end in ("", "-wal", "-shm")]
    journal.close()
    for end, content in kept:
        Path(f"{path}{end}").write_bytes(content)


def change(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(content)


def sql(*statements: str) -> Spoil:
    def spoil(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            for statement in statements:
                raw.execute(statement)

    return spoil


def anew(*statements: str) -> Spoil:
    def spoil(path: Path) -> None:
        path.unlink()
        sql(*statements)(path)

    return spoil


def remove_main(path: Path) -> None:
    killed(path)
    path.unlink()


CORRUPT: dict[str, Spoil] = {
    "garbage": lambda path: path.write_bytes(os.urandom(3 * PAGE)),
    "text": lambda path: path.write_text("these are my notes\n" * 1000),
    "truncated within a page": lambda path: os.truncate(path, path.stat().st_size - 100),
    "truncated to a half": lambda path: os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE),
    "truncated to a page": lambda path: os.truncate(path, PAGE),
    "empty": lambda path: os.truncate(path, 0),
    "a page of noise": lambda path: change(path, 2 * PAGE, os.urandom(PAGE)),
    "a page of zeros": lambda path: change(path, 3 * PAGE, bytes(PAGE)),
    "a table is gone": sql("DROP TABLE outbox"),
    "a table is another": sql("ALTER TABLE jobs ADD COLUMN mood TEXT"),
    "an empty database": anew("VACUUM"),
    "only its last transactions": remove_main,
}
FOREIGN: dict[str, Spoil] = {
    "another program's": anew("CREATE TABLE t (a)", "PRAGMA application_id = 7"),
    "nobody's": anew("CREATE TABLE t (a)"),
}
CASES = [
    *((pytest.param("corrupt", spoil, id=name)) for name, spoil in CORRUPT.items()),
    *((pytest.param("foreign", spoil, id=name)) for name, spoil in FOREIGN.items()),
]


def refused(path: Path) -> JournalError:
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path, outbox=True).close()
    return caught.value


@pytest.mark.parametrize(("kind", "spoil"), CASES)
def test_a_file_that_is_not_as_it_was_written_is_set_aside_loudly_and_the_next_start_begins_anew(
    path: Path, kind: str, spoil: Spoil
) -> None:
    written(path)
    spoil(path)
    before = sorted(one.read_bytes() for one in path.parent.iterdir() if not one.name.endswith("-shm"))
    with capture_logs() as lines:
        error = refused(path)

    assert error.code is ErrorCode.JOURNAL_CORRUPT
    assert str(path) in error.message
    assert "backup-agent list" in error.hint
    kept = [one for one in path.parent.iterdir() if not one.name.endswith("-shm")]
    assert all(one.name.startswith(f"{path.name}.{kind}-") for one in kept)
    assert sorted(one.read_bytes() for one in kept) == before
    (line,) = lines
    assert (line["log_level"], line["code"], line["path"]) == ("error", "journal_corrupt", str(path))
    assert line["kept"] in error.message

    journal = SqliteJournal(path, outbox=True)
    assert journal.jobs(10) == []
    journal.close()
    assert sorted(one for one in path.parent.iterdir() if not one.name.endswith("-shm")) == sorted([path, *kept])


def test_files_set_aside_within_a_second_are_all_kept(path: Path) -> None:
    for number in range(3):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"garbage {number}")
        refused(path)
    assert sorted(one.read_text() for one in path.parent.iterdir()) == ["garbage 0", "garbage 1", "garbage 2"]


def test_what_a_killed_process_has_committed_is_there(path: Path) -> None:
    killed(path)
    journal = SqliteJournal(path, outbox=True)
    assert journal.job(BACKUP) is not None
    journal.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_damage_met_while_it_is_open_is_set_aside_too(path: Path) -> None:
    written(path)
    journal = SqliteJournal(path, outbox=True)
    change(path, PAGE, os.urandom(path.stat().st_size - PAGE))
    with pytest.raises(JournalError) as caught:
        journal.jobs(100)
    with pytest.raises(JournalError) as later:
        add(journal)
    journal.close()

    assert caught.value.code is ErrorCode.JOURNAL_CORRUPT
    assert "was set aside as" in caught.value.message
    assert later.value.code is ErrorCode.JOURNAL_UNUSABLE
    SqliteJournal(path, outbox=True).close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET command = '{}'",
        "UPDATE jobs SET state = 'ASLEEP'",
        "UPDATE jobs SET received = 'yesterday'",
        "UPDATE jobs SET origin = 'nobody'",
    ],
)
def test_an_entry_that_is_not_as_it_was_written_is_damage(path: Path, statement: str) -> None:
    written(path)
    sql(statement)(path)
    journal = SqliteJournal(path, outbox=True)
    with pytest.raises(JournalError, match="an entry can't be read") as caught:
        journal.jobs(10)
    journal.close()
    assert caught.value.code is ErrorCode.JOURNAL_CORRUPT
    assert not path.exists()


def test_a_newer_journal_is_left_alone(path: Path) -> None:
    written(path)
    sql("PRAGMA user_version = 99", "CREATE TABLE moods (mood TEXT)")(path)
    before = path.read_bytes()
    error = refused(path)
    assert error.code is ErrorCode.JOURNAL_NEWER
    assert "version 99" in error.message
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    previous = os.umask(0)
    try:
        journal = SqliteJournal(path, outbox=True)
        add(journal)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        journal.close()
    finally:
        os.umask(previous)
    assert modes == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_belongs_to_the_directory_s_owner(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, 1234, 5678)
    journal = SqliteJournal(path, outbox=True)
    add(journal)
    owners = {one.name: (one.stat().st_uid, one.stat().st_gid) for one in path.parent.iterdir()}
    journal.close()
    assert len(owners) == 3
    assert set(owners.values()) == {(1234, 5678)}


def as_a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "precious")


def with_another_name(path: Path) -> None:
    path.write_text("precious")
    path.with_suffix(".other").hardlink_to(path)


def under_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("spoil", [as_a_link, with_another_name, under_a_file, Path.mkdir])
def test_what_is_no_plain_file_is_refused_and_left_alone(path: Path, spoil: Spoil) -> None:
    path.parent.mkdir()
    spoil(path)
    error = refused(path)
    assert error.code is ErrorCode.JOURNAL_UNUSABLE
    assert str(path) in error.message
    assert str(path.parent) in error.hint
    assert os.path.lexists(path) or path.parent.is_file()


def test_of_several_who_open_it_first_at_once_all_get_the_same(path: Path) -> None:
    journals: list[SqliteJournal] = []
    threads = [threading.Thread(target=lambda: journals.append(SqliteJournal(path, outbox=True))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for journal in journals:
        add(journal, EventType.STARTED)
    assert [journal.depth() for journal in journals] == [8] * 8
    for journal in journals:
        journal.close()
    assert list(path.parent.iterdir()) == [path]


def test_too_old_a_sqlite_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert "needs SQLite 3.37.0 or newer" in refused(path).message
    assert not path.exists()


def test_a_half_made_journal_of_a_killed_process_is_made_anew(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(f"{path.name}.new").write_text("half")
    path.with_name(f"{path.name}.new-wal").write_text("half")
    journal = SqliteJournal(path, outbox=True)
    add(journal)
    journal.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_journal_replaced_while_it_is_open_takes_no_more_and_does_not_harm_the_new_one(path: Path) -> None:
    old = SqliteJournal(path, outbox=True)
    add(old, EventType.STARTED)
    for one in list(path.parent.iterdir()):
        one.rename(path.parent.parent / one.name)
    new = SqliteJournal(path, outbox=True)
    add(new, EventType.STARTED, backup_id=BACKUP)
    with pytest.raises(JournalError, match="removed or replaced") as caught:
        add(old)
    old.close()
    assert caught.value.code is ErrorCode.JOURNAL_UNUSABLE

    add(new, EventType.STARTED)
    assert new.depth() == 2
    new.close()
    again = SqliteJournal(path, outbox=True)
    assert again.depth() == 2
    again.close()


def test_a_journal_replaced_within_a_transaction_does_not_acknowledge_it(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    with pytest.raises(JournalError, match="removed or replaced"), journal.transaction():
        path.rename(path.with_name("elsewhere"))
    journal.close()

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from backup_agent.errors import BackupAgentError, ErrorCode
from backup_agent.instance.datadir import Sizes, measure


def aria_header(*, transactional: bool, page_checksum: bool) -> bytes:
    """As MariaDB 10.11 writes it: base information at 239, `born_transactional` at its byte 106."""
    options = bytes([0x0C if page_checksum else 0x04, 0])
    header = b"\xfe\xfe\x09\x03" + options + bytes.fromhex("01c000d7008700ef")
    return header.ljust(239 + 106, b"\0") + bytes([transactional]) + b"\0" * 100


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    return tmp_path


def fill(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)


def test_myisam_csv_and_archive_are_write_locked_and_innodb_is_not(datadir: Path) -> None:
    for name, size in {"a.MYD": 1, "a.MYI": 2, "b.CSV": 4, "b.CSM": 8, "c.ARZ": 16, "d.ibd": 32, "d.frm": 64}.items():
        fill(datadir / "app" / name, size)
    assert measure(datadir) == Sizes(nontransactional=31, total=127)


@pytest.mark.parametrize(
    ("transactional", "page_checksum", "locked"), [(True, True, False), (True, False, True), (False, True, True)]
)
def test_aria_is_locked_unless_transactional_with_page_checksums(
    datadir: Path, *, transactional: bool, page_checksum: bool, locked: bool
) -> None:
    header = aria_header(transactional=transactional, page_checksum=page_checksum)
    (datadir / "app" / "t.MAI").write_bytes(header)
    fill(datadir / "app" / "t.MAD", 5000)
    size = len(header) + 5000
    assert measure(datadir) == Sizes(nontransactional=size if locked else 0, total=size)


def test_an_aria_header_that_says_nothing_counts_as_locked(datadir: Path) -> None:
    fill(datadir / "app" / "t.MAI", 3)
    fill(datadir / "app" / "t.MAD", 7)
    assert measure(datadir).nontransactional == 10


def test_binary_logs_redo_and_half_built_tables_are_not_counted(datadir: Path) -> None:
    for name in ("binlog.000001", "ib_logfile0", "ibtmp1", "app/#sql-alter-1.ibd", "app/#sql-alter-2.MYD"):
        fill(datadir / name, 1000)
    fill(datadir / "ibdata1", 7)
    assert measure(datadir) == Sizes(nontransactional=0, total=7)


def test_a_database_that_is_a_symbolic_link_counts(datadir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("other_disk")
    fill(elsewhere / "t.MYD", 11)
    (datadir / "linked").symlink_to(elsewhere)
    assert measure(datadir) == Sizes(nontransactional=11, total=11)


def test_a_system_tablespace_elsewhere_counts_once(datadir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("innodb") / "ibdata1"
    fill(outside, 13)
    fill(datadir / "ibdata1", 7)
    assert measure(datadir, [outside, datadir / "ibdata1"]).total == 20


def test_what_vanishes_during_the_walk_counts_nothing(datadir: Path) -> None:
    (datadir / "app" / "t.MYD").symlink_to(datadir / "gone")
    (datadir / "app" / "u.MAD").write_bytes(b"left over")
    assert measure(datadir) == Sizes(nontransactional=0, total=9)


def test_a_directory_that_may_not_be_read_is_named_with_its_owner(
    datadir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "app":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BackupAgentError) as caught:
        measure(datadir)
    assert caught.value.code is ErrorCode.DATADIR_UNREADABLE
    assert caught.value.message == f"{datadir}/app can't be read: Permission denied"
    assert f"user {(datadir / 'app').owner()} and group {(datadir / 'app').group()}" in caught.value.hint


def test_twenty_thousand_tables_take_no_more_than_two_seconds(datadir: Path) -> None:
    for number in range(20_000):
        os.close(os.open(datadir / "app" / f"t{number}.ibd", os.O_CREAT | os.O_WRONLY))
    begin = time.monotonic()
    measure(datadir)
    assert time.monotonic() - begin < 2

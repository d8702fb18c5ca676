"""What the engines are asked, and how they are asked it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.engine.dialect import Dialect
from backup_agent.engine.interface import BackupPlan, EngineVersion, series
from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.xtrabackup import XTRABACKUP
from backup_agent.errors import EngineError, ErrorCode
from tests.unit.engine.scripts import RECORDER, engine_of, script

FULL = BackupPlan(Path("/var/lib/mysql"), incremental_lsn=None, replica=False, galera=False)
FULLEST = BackupPlan(Path("/var/lib/mysql"), incremental_lsn=44404, replica=True, galera=True)


def asked(directory: Path) -> list[str]:
    return (directory / "arguments").read_text().splitlines()


def backup(directory: Path, plan: BackupPlan, dialect: Dialect, *, throttle: int | None = None) -> list[str]:
    """The arguments of an engine that ends at once, without success."""
    binary = script(directory, RECORDER)
    with engine_of(directory, binary, dialect, throttle=throttle).start(plan) as run:
        assert run.stdout.read() == b""
        with pytest.raises(EngineError):
            run.finish()
    options, *rest = asked(directory)
    assert options.startswith("--defaults-file=/proc/self/fd/")
    return rest


def test_a_full_backup_is_streamed(tmp_path: Path) -> None:
    assert backup(tmp_path, FULL, MARIADB_BACKUP) == [
        "--backup",
        "--stream=mbstream",
        "--datadir=/var/lib/mysql",
        f"--target-dir={tmp_path}/work/target",
        f"--extra-lsndir={tmp_path}/work/lsn",
        f"--tmpdir={tmp_path}/work",
        "--parallel=3",
        "--log-copy-interval=10",
        "--extra",
        "last",
    ]
    assert not (tmp_path / "work").exists()


def test_an_incremental_needs_only_the_parents_lsn(tmp_path: Path) -> None:
    rest = backup(tmp_path, FULLEST, MARIADB_BACKUP)
    assert rest[8:] == ["--incremental-lsn=44404", "--slave-info", "--galera-info", "--extra", "last"]


def test_a_throttle_is_handed_to_the_engine(tmp_path: Path) -> None:
    assert "--throttle=200" in backup(tmp_path, FULL, MARIADB_BACKUP, throttle=200)


def test_xtrabackup_speaks_another_stream_format(tmp_path: Path) -> None:
    rest = backup(tmp_path, FULLEST, XTRABACKUP)
    assert rest[1] == "--stream=xbstream"
    assert "--incremental-lsn=44404" in rest


def prepare(directory: Path, dialect: Dialect, incremental: Path | None, *, last: bool) -> list[str]:
    binary = script(directory, RECORDER + 'echo "completed OK!" >&2')
    engine_of(directory, binary, dialect).prepare(directory, incremental, last=last, cancellation=Cancellation())
    return asked(directory)[1:]


def test_mariadb_backup_prepares_every_link_alike(tmp_path: Path) -> None:
    base = ["--prepare", f"--target-dir={tmp_path}", "--use-memory=67108864"]
    assert prepare(tmp_path, MARIADB_BACKUP, None, last=False) == base
    incremental = tmp_path / "incremental-001"
    expected = [*base, f"--incremental-dir={incremental}"]
    assert prepare(tmp_path, MARIADB_BACKUP, incremental, last=False) == expected
    assert prepare(tmp_path, MARIADB_BACKUP, incremental, last=True) == expected


def test_xtrabackup_rolls_back_only_at_the_last_link(tmp_path: Path) -> None:
    assert prepare(tmp_path, XTRABACKUP, None, last=False)[-1] == "--apply-log-only"
    assert "--apply-log-only" not in prepare(tmp_path, XTRABACKUP, None, last=True)


@pytest.mark.parametrize(
    ("dialect", "said", "version"),
    [
        (
            MARIADB_BACKUP,
            "mariadb-backup based on MariaDB server 10.11.6-MariaDB debian-linux-gnu (x86_64)",
            "10.11.6-MariaDB",
        ),
        (MARIADB_BACKUP, "mariabackup based on MariaDB server 11.4.2-MariaDB Linux (x86_64)", "11.4.2-MariaDB"),
        (
            XTRABACKUP,
            "xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 55ec21d7)",
            "8.0.35-31",
        ),
    ],
)
@pytest.mark.parametrize("stream", [1, 2])
def test_the_version_is_read_from_either_stream(
    tmp_path: Path, dialect: Dialect, said: str, version: str, stream: int
) -> None:
    binary = script(tmp_path, f'[ "$*" = --version ] && echo "{said}" >&{stream}')
    assert engine_of(tmp_path, binary, dialect).version() == EngineVersion(dialect.name, version)


@pytest.mark.parametrize("text", ["echo 1.2.3", "printf '\\377\\376'", "exit 1"])
def test_what_tells_no_version_is_no_engine(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineError, match="does not say which version") as caught:
        engine_of(tmp_path, script(tmp_path, text)).version()
    assert caught.value.code is ErrorCode.ENGINE_MISSING


def test_the_series_is_what_must_be_equal() -> None:
    assert series("10.11.6-MariaDB-0+deb12u1-log") == "10.11"
    assert series("8.0.35-31") == "8.0"
    assert series("11.4.2-MariaDB") != series("11.8.2-MariaDB")

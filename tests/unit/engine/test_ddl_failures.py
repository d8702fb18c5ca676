"""DDL is the reason when the engine's log says so, and when it says no other and DDL met its copies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from backup_agent.engine.interface import BackupPlan, EngineReport
from backup_agent.errors import EngineError, ErrorCode, TakeAgainError
from tests.unit.engine.scripts import engine_of, script

FULL = BackupPlan(Path("/var/lib/mysql"), incremental_lsn=None, replica=False, galera=False)

START = (
    "[00] 2026-11-25 15:52:36 Starting BACKUP STAGE START",
    "[00] 2026-11-25 15:52:36 Acquired locks for BACKUP STAGE START",
)
TRACKED = '[00] 2026-11-25 15:51:29 DDL tracking : rename 396 "./storm/t2.ibd","./storm/t5.ibd"'
STOPPING = (
    "mariabackup: Stopping log copying thread.",
    "2026-11-25 15:52:37 0 [Note] InnoDB: Starting shutdown...",
)
VANISHED = (
    "mariadb-backup: Can't find file: './storm/t0.MAI' (errno: 2 \"No such file or directory\")",
    "[01] 2026-11-25 15:50:57 Error on aria table file open ./storm/t0.MAI",
)
ARIA_ENDS = "[00] 2026-11-25 16:01:19 Aria data files backup process is finished with error"
OK = "[00] 2026-11-25 15:51:33 completed OK!"


def end_of(tmp_path: Path, lines: Iterable[str], ending: str = "exit 1") -> EngineReport:
    log = tmp_path / "log"
    log.write_text("".join(f"{line}\n" for line in lines))
    with engine_of(tmp_path, script(tmp_path, f'cat "{log}" >&2\n{ending}')).start(FULL) as run:
        run.stdout.read()
        return run.finish()


@pytest.mark.parametrize(
    "reason",
    [
        "[01] 2026-11-25 15:52:37 Error 2 on file ./storm/t7.MYI open during `storm`.`t7` table copy: No such file ...",
        "[00] FATAL ERROR: 2026-11-25 15:52:49 failed to execute query BACKUP STAGE BLOCK_DDL: Deadlock found when ...",
        "[00] FATAL ERROR: 2026-11-25 15:52:49 failed to execute query BACKUP LOCK `a`.`b`: Lock wait timeout exceeded",
        "[00] 2026-11-25 16:01:19 error: aria_read index from ./st/t5#P#p1#TMP#.MAI failed with error 9",
        "[01] 2026-11-25 16:01:19 error: aria_read data from ./st/t5.MAD failed with error 126",
        "2026-11-25 15:51:33 0 [ERROR] InnoDB: Operating system error number 2 in a file operation.",
        "[00] FATAL ERROR: 2026-11-25 15:52:49 Unexpected DDL operation detected in the late phase of backup while ...",
        "[00] 2026-11-25 15:52:49 Can't open dir ./passing",
        "[00] 2026-11-25 15:52:49 Failed to re-copy ./storm/t1.MYD.",
    ],
)
def test_a_line_that_only_ddl_explains_is_shown_first_and_the_backup_is_to_be_taken_again(
    tmp_path: Path, reason: str
) -> None:
    with pytest.raises(TakeAgainError) as caught:
        end_of(tmp_path, ["2026-11-25 15:51:30 0 [ERROR] InnoDB: something", *START, reason, *["..."] * 20, *STOPPING])
    assert caught.value.code is ErrorCode.DDL_DURING_BACKUP
    assert caught.value.message.startswith(f"mariadb-backup ended with status 1: {reason} | ")
    assert "while no tables are created, altered or dropped" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "met"),
    [(1, TRACKED), (1, VANISHED[0]), (1, VANISHED[1]), (134, TRACKED)],
    ids=["tracked", "vanished", "not opened", "crashed"],
)
def test_an_end_that_nothing_else_explains_is_laid_to_the_ddl_that_met_the_copies(
    tmp_path: Path, status: int, met: str
) -> None:
    with pytest.raises(TakeAgainError) as caught:
        end_of(tmp_path, [*START, met, ARIA_ENDS, *STOPPING], f"exit {status}")
    assert caught.value.code is ErrorCode.DDL_DURING_BACKUP
    assert f"ended with status {status}: DDL went on while it copied: {met} | " in caught.value.message
    assert ARIA_ENDS in caught.value.message


@pytest.mark.parametrize(
    ("lines", "ending"),
    [
        ([*START, ARIA_ENDS, *STOPPING], "exit 1"),
        ([TRACKED, *START, ARIA_ENDS, *STOPPING], "exit 1"),
        ([*START, TRACKED, OK], "exit 3"),
        ([*START, TRACKED], "exit 0"),
        ([*START, TRACKED], "kill -9 $$"),
        ([*START, TRACKED, "[00] FATAL ERROR: failed to execute query SELECT 1: Lost connection to server"], "exit 1"),
        ([*START, TRACKED, "[01] Error: failed to read page after 10 retries. File ./a/b.ibd seems to be corrupted."],
         "exit 1"),
        ([*START, TRACKED, "mariadb-backup: Error writing file 'UNOPENED' (errno: 28 \"No space left on device\")"],
         "exit 1"),
        ([*START, TRACKED, "[00] FATAL ERROR: failed to execute query SHOW MASTER STATUS: Access denied; you need"],
         "exit 1"),
    ],
    ids=["no DDL", "DDL before it", "said OK", "no failure", "killed", "server", "corrupted", "disk", "denied"],
)  # fmt: skip
def test_ddl_does_not_excuse_what_it_did_not_cause(tmp_path: Path, lines: list[str], ending: str) -> None:
    with pytest.raises(EngineError) as caught:
        end_of(tmp_path, lines, ending)
    assert type(caught.value) is EngineError
    assert caught.value.code is ErrorCode.ENGINE_FAILED
    assert lines[-1] in caught.value.message


def test_a_fatal_error_is_shown_however_much_comes_after_it(tmp_path: Path) -> None:
    fatal = "[00] FATAL ERROR: 2026-11-25 15:52:49 Can't open Aria control file (2)"
    with pytest.raises(EngineError, match="ended with status 1") as caught:
        end_of(tmp_path, [*START, fatal, *["..."] * 20, *STOPPING])
    assert fatal in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        "[00] 2026-11-25 15:51:33 Failed to re-copy ./storm_1/db.opt.",
        "[00] 2026-11-25 15:51:33 Failed to rename storm/t1.MYD to storm/t2.MYD.",
        "[00] 2026-11-25 15:51:33 Failed to remove storm/t1.MYD.",
        "[00] 2026-11-25 15:51:33 DDL log file ./ddl.log read error: 5",
    ],
)
def test_ok_is_not_believed_when_the_ddl_was_not_all_repeated(tmp_path: Path, line: str) -> None:
    with pytest.raises(TakeAgainError, match="says OK, but has not repeated on its copies all DDL") as caught:
        end_of(tmp_path, [*START, line, *["..."] * 20, OK], "exit 0")
    assert caught.value.code is ErrorCode.DDL_DURING_BACKUP
    assert caught.value.message.endswith(line)


@pytest.mark.parametrize(
    "copied",
    [
        "[01] 2026-11-26 13:56:01 Copied file ./d/t.MYD for table `d`.`Permission denied`, 0 bytes",
        "[00] 2026-11-26 13:56:03 Skip table d.Permission denied at it is in exclude list",
        "[00] 2026-11-26 13:56:03 Streaming ./Permission denied/t.frm to <STDOUT>",
    ],
)
def test_the_names_of_tables_are_no_reason(tmp_path: Path, copied: str) -> None:
    with pytest.raises(TakeAgainError) as caught:
        end_of(tmp_path, [*START, copied, TRACKED, ARIA_ENDS, *STOPPING])
    assert caught.value.code is ErrorCode.DDL_DURING_BACKUP

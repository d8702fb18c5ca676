"""The engine's log, as mariadb-backup 10.11 wrote it, read with made-up times."""

from __future__ import annotations

import pytest

from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import Phase
from backup_agent.engine.dialect import Dialect
from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.stages import FailureSigns, StageClock
from backup_agent.engine.xtrabackup import XTRABACKUP

LOG = """\
10.000 Connecting to MariaDB server host: localhost, user: backup_agent, password: set, port: not set, socket: /run/x
10.010 Using server version 10.11.6-MariaDB-0+deb12u1-log
10.100 Starting BACKUP STAGE START
10.100 Acquiring BACKUP LOCKS...
10.300 Acquired locks for BACKUP STAGE START
10.400 Streaming ./shop/orders.ibd
12.000 Finished BACKUP STAGE START
12.001 Starting BACKUP STAGE FLUSH
17.101 Acquired locks for BACKUP STAGE FLUSH
17.200 Streaming ./shop/notes.MYD
17.300 Finished BACKUP STAGE FLUSH
17.301 Started BACKUP STAGE BLOCK_DDL
17.302 Acquired locks for BACKUP STAGE BLOCK_DDL
17.400 Finished BACKUP STAGE BLOCK_DDL
17.401 Starting BACKUP STAGE BLOCK_COMMIT
17.402 Acquired locks for BACKUP STAGE BLOCK_COMMIT
17.431 Finishing BACKUP STAGE BLOCK_COMMIT
17.432 Starting BACKUP STAGE END
17.433 Executing BACKUP STAGE END
17.435 All tables unlocked
17.500 Redo log (from LSN 44404 to 44760) was copied.
17.600 completed OK!
"""


def read(log: str, dialect: Dialect = MARIADB_BACKUP) -> tuple[StageClock, list[Phase]]:
    """The clock after `log`, and the phases it went through."""
    clock = StageClock(dialect.stages)
    phases = [clock.phase]
    for line in log.splitlines():
        at, _, text = line.partition(" ")
        clock.read(f"[00] 2026-11-23 19:17:52 {text}", float(at))
        if clock.phase is not phases[-1]:
            phases.append(clock.phase)
    return clock, phases


def test_the_windows_run_from_the_wish_for_the_lock_to_its_release() -> None:
    """Waiting counts: FLUSH waited five seconds for a long statement, and writers waited behind it."""
    clock, phases = read(LOG)
    assert clock.window() == LockWindow(
        innodb_ms=34,
        nontransactional_ms=5434,
        stages_ms={"START": 1901, "FLUSH": 5300, "BLOCK_DDL": 100, "BLOCK_COMMIT": 31, "END": 3},
    )
    assert phases == [Phase.LOCKING, Phase.COPYING, Phase.BLOCKING, Phase.FINISHING]


def test_any_verb_starts_a_stage() -> None:
    started, _ = read(LOG.replace("Starting BACKUP", "Started BACKUP"))
    executing, _ = read(LOG.replace("Starting BACKUP", "Executing BACKUP"))
    assert started.window() == executing.window() == read(LOG)[0].window()


def test_an_engine_that_ends_before_a_lock_has_locked_nothing() -> None:
    clock, phases = read("\n".join(LOG.splitlines()[:6]))
    assert clock.window() == LockWindow(innodb_ms=0, nontransactional_ms=0, stages_ms={"START": 0})
    assert phases[-1] is Phase.COPYING
    assert read("")[0].window() == LockWindow(innodb_ms=0, nontransactional_ms=0, stages_ms={})


def test_an_engine_that_ends_while_it_locks_is_measured_up_to_its_last_stage() -> None:
    clock, phases = read(LOG[: LOG.index("17.431")])
    assert clock.window().nontransactional_ms == 5400
    assert phases[-1] is Phase.BLOCKING


def test_the_first_release_counts() -> None:
    clock, _ = read(LOG + "30.000 All tables unlocked\n")
    assert clock.window().nontransactional_ms == 5434


def test_xtrabackup_names_its_locks_otherwise() -> None:
    """From its documentation; no real one was seen."""
    log = """\
10.000 Copying ./ibdata1 to <STDOUT>
12.000 Executing LOCK TABLES FOR BACKUP...
12.100 Starting to backup non-InnoDB tables and files
12.500 Executing LOCK BINLOG FOR BACKUP...
12.600 Executing UNLOCK BINLOG
12.610 Executing UNLOCK TABLES
12.620 All tables unlocked
"""
    clock, phases = read(log, XTRABACKUP)
    assert (clock.window().nontransactional_ms, clock.window().innodb_ms) == (620, 120)
    assert phases == [Phase.LOCKING, Phase.COPYING, Phase.BLOCKING, Phase.FINISHING]


@pytest.mark.parametrize(
    ("dialect", "line", "sign"),
    [
        (
            MARIADB_BACKUP,
            "[00] FATAL ERROR: Was only able to copy log from 44404 to 46000, not 57000; try increasing ...",
            "redo",
        ),
        (MARIADB_BACKUP, "Can't handle DDL operation when any lock-free DDL is running", "ddl"),
        (
            MARIADB_BACKUP,
            "[00] FATAL ERROR: An optimized (without redo logging) DDL operation has been performed. All modified ...",
            "ddl",
        ),
        (MARIADB_BACKUP, "[00] FATAL ERROR: failed to execute query BACKUP STAGE BLOCK_DDL: Deadlock found", "ddl"),
        (
            MARIADB_BACKUP,
            "[00] FATAL ERROR: failed to execute query SHOW MASTER STATUS: Access denied; you need (at least one ...",
            "denied",
        ),
        (XTRABACKUP, "log block numbers mismatch: expected log block no. 3, but got no. 9", "redo"),
        (XTRABACKUP, "PXB will not be able to make a consistent backup. DDL has been performed", "ddl"),
    ],
)
def test_the_line_that_tells_the_cause_is_kept(dialect: Dialect, line: str, sign: str) -> None:
    signs = FailureSigns(dialect.failures)
    for text in (*LOG.splitlines(), line, "mariabackup: Stopping log copying thread", line + " again"):
        signs.read(text)
    assert signs.found == {sign: line}

"""The engine is held just before it locks tables, and never while it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from backup_agent.engine.interface import BackupPlan
from tests.unit.engine.scripts import engine_of, script

NEAR = "[00] 2026-11-24 03:25:36 Start copying aria log file tail: /var/lib/mysql//aria_log.00000001"
LOCKING = "[00] 2026-11-24 03:25:36 Starting BACKUP STAGE FLUSH"
PLAN = BackupPlan(datadir=Path("/var/lib/mysql"), incremental_lsn=None, replica=False, galera=False, hold=True)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_is_held_until_it_is_resumed_and_not_taken_for_stopped_by_others(tmp_path: Path) -> None:
    binary = script(tmp_path, f'echo "{NEAR}" >&2\nwhile [ ! -e "{tmp_path}/go" ]; do :; done\necho more')
    with engine_of(tmp_path, binary).start(PLAN) as run:
        until(lambda: run.held)
        assert not run.stopped
        (tmp_path / "go").touch()
        run.resume()
        run.resume()
        assert run.stdout.read() == b"more\n"
        assert not run.held


def test_it_is_not_held_when_it_has_begun_to_lock_meanwhile(tmp_path: Path) -> None:
    binary = script(tmp_path, f"printf '%s\\n' '{NEAR}' '{LOCKING}' >&2\necho more")
    with engine_of(tmp_path, binary).start(PLAN) as run:
        assert run.stdout.read() == b"more\n"
        assert not run.held


def test_it_is_not_held_unless_the_plan_asks_for_it(tmp_path: Path) -> None:
    binary = script(tmp_path, f"echo '{NEAR}' >&2\necho more")
    plan = BackupPlan(datadir=PLAN.datadir, incremental_lsn=None, replica=False, galera=False)
    with engine_of(tmp_path, binary).start(plan) as run:
        assert run.stdout.read() == b"more\n"

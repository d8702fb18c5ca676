"""`backup-agent status` as it is typed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner

from backup_agent.cli.status import status
from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import Phase
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.instance.process import this_process
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, INSTANCE, RECEIVED, add, event, new_job, put
from tests.unit.operations.test_status import ERROR, body

CONFIG = """
[instance]
id = "{instance}"
account_id = "1234"
runtime_dir = "{base}/run"
[store]
url = "file://{base}/store"
[journal]
dir = "{base}/state"
"""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(instance=INSTANCE, base=tmp_path))
    yield path
    structlog.reset_defaults()


def run(config: Path, *arguments: str) -> tuple[int, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(status)
    result = CliRunner().invoke(app, ["--config", str(config), *arguments])
    return result.exit_code, result.stdout


def journal_of(config: Path) -> SqliteJournal:
    return SqliteJournal(config.parent / "state" / f"{INSTANCE}.journal", outbox=True, now=lambda: RECEIVED)


def test_an_agent_that_was_never_used_says_so_and_nothing_is_made(config: Path) -> None:
    code, printed = run(config)
    assert code == 0
    assert printed.splitlines()[0] == (f"The agent was never used on instance {INSTANCE}: there is no journal yet.")
    code, printed = run(config, "--json")
    assert code == 0
    found = json.loads(printed)["status"]
    assert (found["used"], found["running"], found["last_completed"]) == (False, [], None)
    assert list(config.parent.iterdir()) == [config]


def busy(config: Path) -> str:
    """A journal with a running, a waiting, a completed and a failed backup; the waiting one's id."""
    journal = journal_of(config)
    ended = [add(journal, EventType.STARTED) for _ in range(2)]
    put(journal, event(EventType.COMPLETED, 2, ended[0], body=body(percent=100)))
    put(journal, event(EventType.FAILED, 2, ended[1], body=body(error=ERROR)))
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=this_process()))
        transaction.record(event(EventType.STARTED, 1))
    put(journal, event(EventType.PROGRESS, 2, phase=Phase.COPYING, body=body(percent=42)))
    waiting = add(journal)
    journal.close()
    return waiting


def test_a_busy_agent_is_shown_in_words(config: Path) -> None:
    waiting = busy(config)
    lock = InstanceLock(config.parent / "run", INSTANCE)
    with lock.acquire(LockHolder.here("backup", BACKUP, RECEIVED)):
        code, printed = run(config)

    assert code == 0
    lines = printed.splitlines()
    fields = {name: " ".join(rest) for name, *rest in (line.split("  ") for line in lines[:9])}
    assert fields["instance"].strip() == INSTANCE
    assert fields["lock"].strip() == f"backup of backup {BACKUP}, pid {os.getpid()}, since 2026-03-04T05:06:07Z"
    assert fields["events to tell"].strip().startswith("6, the oldest for ")
    assert fields["error"].strip() == "the store is full [store_full]"
    assert fields["hint"].strip() == "make room"
    row = next(line for line in lines if line.startswith(BACKUP)).split()
    assert row == [
        BACKUP, "incremental", "copying", "42", "%", "2026-03-04T05:06:07Z", "1", str(os.getpid()), "s\u00f6ndag",
    ]  # fmt: skip
    assert next(line for line in lines if line.startswith(waiting)).split()[1:4] == [
        "incremental", "2026-03-04T05:06:07Z", "-",
    ]  # fmt: skip


def test_a_busy_agent_is_shown_as_json(config: Path) -> None:
    waiting = busy(config)
    code, printed = run(config, "--json")
    assert code == 0
    found = json.loads(printed)["status"]
    assert found["lock"] is None
    assert found["running"] == [
        {
            "id": BACKUP,
            "name": "s\u00f6ndag",
            "type": "incremental",
            "phase": "copying",
            "percent": 42,
            "since": "2026-03-04T05:06:07Z",
            "attempts": 1,
            "pid": os.getpid(),
            "lives": True,
            "cancelled": False,
        }
    ]
    assert [one["id"] for one in found["waiting"]] == [waiting]
    assert found["outbox"]["depth"] == 6
    assert found["outbox"]["oldest_age_s"] == pytest.approx((datetime.now(UTC) - RECEIVED).total_seconds(), abs=600)
    assert found["last_failed"]["error"].items() >= ERROR.items()
    assert found["last_completed"]["at"] == "2026-03-04T05:06:07Z"


def test_an_interrupted_backup_is_named(config: Path) -> None:
    journal = journal_of(config)
    with journal.transaction() as transaction:
        transaction.add(new_job(owner=ProcessId(pid=os.getpid(), started="an earlier boot/1")))
    journal.close()
    printed = run(config)[1]
    assert "1 of them interrupted" in printed
    assert f"{os.getpid()} (gone)" in printed


def test_a_damaged_journal_is_an_error_of_its_own_and_left_where_it_is(config: Path) -> None:
    path = config.parent / "state" / f"{INSTANCE}.journal"
    path.parent.mkdir()
    path.write_text("notes")
    code, printed = run(config)
    assert (code, printed) == (12, "")
    assert path.read_text() == "notes"

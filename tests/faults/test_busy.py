"""One instance, one holder of its lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.agents import ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import lock_is_free, processes
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


def test_whoever_comes_second_is_told_who_was_first(agent: ConfinedAgent, tmp_path: Path, shop: PrivateMariaDB) -> None:
    done = agent.backup()
    with notes_are_written(shop) as release, Running(agent, "run-once", "--json") as first:
        first.await_word("backup.progress", phase="blocking")
        (started,) = (line for line in first.log if line["event"] == "backup.started")
        holder = (f"instance is busy: backup of backup {started['backup_id']}", f"pid {first.pid}", "since 20")

        second = agent.run("run-once")
        refused(second, "instance_busy", "busy", *holder)
        assert [line["error"]["code"] for line in second.events("backup.rejected")] == ["instance_busy"]
        refused(agent.run("restore", done["id"], "--target-dir", tmp_path / "target"), "instance_busy", "busy", *holder)
        assert not (tmp_path / "target").exists()
        check = agent.run("config", "check", "--json")
        assert check.status == 5
        assert {finding["subject"]: finding["code"] for finding in check.json["checks"] if not finding["ok"]} == {
            "lock": "instance_busy"
        }
        assert [backup["id"] for backup in agent.run("list", "--json").json["backups"]] == [done["id"]]

        release()
        outcome = first.end()
    assert outcome.status == 0
    assert outcome.json["backup"]["id"] == started["backup_id"]
    assert agent.backup()["status"] == "COMPLETED"


def test_a_killed_holder_holds_nothing(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    with notes_are_written(shop), Running(agent, "run-once") as first:
        first.await_word("backup.progress", phase="blocking")
        until(agent.stored_files, "a chunk in the store")
        first.kill()
        first.end()
        until(lambda: lock_is_free(agent) and not processes(agent), "the lock, and the end of the engine")
    assert agent.stored_files() != []
    backup = agent.backup()
    listed = agent.run("list", "--json").json["backups"]
    assert [entry["id"] for entry in listed] == [backup["id"]]

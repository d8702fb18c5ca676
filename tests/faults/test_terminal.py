"""What a person at a terminal sees, and what a program that reads the output gets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agent import SECONDS, Outcome
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.terminals import Terminal
from tests.faults.traces import nothing_left_behind, processes
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

MARKUP = "[/x] [red]:smile:"


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def test_a_backup_shows_a_bar_its_warning_and_its_fields(tmp_path: Path, shop: PrivateMariaDB) -> None:
    extra = {**SMALL_CHUNKS, "instance": {"nontransactional_threshold_mib": 0}}
    agent = ConfinedAgent(tmp_path / "agent", shop, extra=extra)
    with notes_are_written(shop) as release, Terminal(agent, "run-once", "--name", MARKUP, columns=60) as terminal:
        until(lambda: terminal.ended or "blocking" in terminal.text, "the bar")
        until(lambda: terminal.ended or "writes shop.notes" in terminal.text, "whom it waits for")
        release()
        assert terminal.end() == 0
    assert "\u2501\u2501\u2501" in terminal.text
    assert "MiB stored" in terminal.text
    assert "warning: " in terminal.text
    assert "MiB of non-transactional tables" in terminal.text
    assert f"name                  {MARKUP}\n" in terminal.text
    assert "status                COMPLETED\n" in terminal.text
    assert not json_lines(terminal.text)
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h")  # the cursor is shown again
    admitted, small, waiting, *_ = terminal.lines
    assert "backup admitted" in admitted  # whole, though each is wider than the terminal
    assert admitted.endswith("parent_id=None")
    assert small.endswith("are write-locked while they are copied")
    assert waiting.endswith("(writes shop.notes (MyISAM))")
    assert "\u2501" not in "\n".join(terminal.lines)


def test_a_restore_shows_its_steps(agent: ConfinedAgent, tmp_path: Path) -> None:
    backup = agent.backup()
    with Terminal(agent, "restore", backup["id"], "--target-dir", tmp_path / "target", columns=80) as terminal:
        assert terminal.end() == 0
    assert "link 1 of 1" in terminal.text
    assert f"backup_id                {backup['id']}\n" in terminal.text
    assert "binlog.gtid" in terminal.text
    assert not json_lines(terminal.text)


def test_an_error_is_two_lines(agent: ConfinedAgent) -> None:
    with nothing_left_behind(agent), Terminal(agent, "run-once", "--incremental") as terminal:
        assert terminal.end() == 4
    error, hint = terminal.text.rstrip("\n").splitlines()[-2:]
    assert error.startswith("error: ")
    assert error.endswith("no completed backup that an incremental could continue [no_parent]")
    assert hint == " hint: Take a full backup first: `backup-agent run-once` without --incremental."
    assert not json_lines(terminal.text)


def test_json_is_json_also_at_a_terminal(agent: ConfinedAgent) -> None:
    with Terminal(agent, "run-once", "--json", columns=2000) as terminal:
        assert terminal.end() == 0
    events = [line["event"] for line in json_lines(terminal.text)]
    assert events[0] == "backup admitted"
    assert "backup.completed" in events
    assert "\u2501" not in terminal.text


def test_no_terminal_means_json_lines_and_nothing_else(agent: ConfinedAgent, tmp_path: Path) -> None:
    backup = agent.run("run-once")
    assert backup.status == 0
    assert "backup.completed" in [line["event"] for line in backup.log]
    for line in backup.log:
        assert {"event", "level", "timestamp"} <= line.keys()
    (backup_id,) = (entry["id"] for entry in agent.run("list", "--json").json["backups"])
    for arguments in (("list",), ("show", backup_id), ("restore", backup_id, "--target-dir", str(tmp_path / "target"))):
        outcome = agent.run(*arguments)
        assert (outcome.status, "\x1b" in outcome.stdout) == (0, False)
        assert all(line["level"] in ("info", "warning") for line in outcome.log)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_list_shows_whole_ids_and_names_at_any_width(agent: ConfinedAgent, columns: int) -> None:
    full = agent.backup("--name", MARKUP)["id"]
    child = agent.backup("--incremental", "--name", "n" * 64)["id"]
    for arguments in (("list",), ("show", child)):
        with Terminal(agent, *arguments, columns=columns) as terminal:
            assert terminal.end() == 0
        for shown in (full, child, MARKUP, "n" * 64, "incremental", "MiB"):
            assert shown in terminal.text
        assert "\u2026" not in terminal.text


def test_ctrl_c_ends_the_backup_in_good_order(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    with nothing_left_behind(agent, shop), notes_are_written(shop) as release:
        with Terminal(agent, "run-once") as terminal:
            until(lambda: terminal.ended or "blocking" in terminal.text, "the bar")
            terminal.type(b"\x03")
            assert terminal.end() == 130
        release()
    assert "error: interrupted by SIGINT [interrupted]\n hint: " in terminal.text
    assert "Traceback" not in terminal.text
    assert "engine_failed" not in terminal.text  # the signal did not reach the engine


def test_ctrl_z_does_not_stop_an_agent_whose_engine_holds_locks(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    with notes_are_written(shop) as release, Terminal(agent, "run-once") as terminal:
        until(lambda: terminal.ended or "blocking" in terminal.text, "the bar")
        terminal.type(b"\x1a")
        release()
        assert terminal.end() == 0
    assert "COMPLETED" in terminal.text


@pytest.mark.parametrize("arguments", [("run-once",), ("run-once", "--json")])
def test_a_lost_connection_ends_the_backup_in_good_order(
    agent: ConfinedAgent, shop: PrivateMariaDB, arguments: tuple[str, ...]
) -> None:
    with nothing_left_behind(agent, shop), notes_are_written(shop) as release:
        with Terminal(agent, *arguments) as terminal:
            until(lambda: terminal.ended or "blocking" in terminal.text, "the bar")
            until(agent.stored_files, "a chunk in the store")
            terminal.hang_up()
            assert terminal.end() == 129
        assert processes(agent) == []
        release()
    assert agent.backup()["status"] == "COMPLETED"


def piped(agent: ConfinedAgent, *arguments: str, into: str) -> Outcome:
    """Standard output goes into a shell command or a file that does not take it; the status is the agent's."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {into}; exit "${{PIPESTATUS[0]}}"', "bash", *agent.argv(*arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        text=True,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_reader_that_has_seen_enough_is_no_error(agent: ConfinedAgent) -> None:
    agent.backup()
    outcome = piped(agent, "list", into="| true")
    assert outcome.status in (0, 141)  # of SIGPIPE, unless the reader took it all before it left
    assert outcome.stderr == ""


def test_a_result_that_can_not_be_written_is_told(agent: ConfinedAgent) -> None:
    outcome = piped(agent, "run-once", into="> /dev/full")
    assert outcome.status == 1
    assert outcome.error["code"] == "output_failed"
    assert "No space left on device" in outcome.error["event"]
    assert "ended well" in outcome.error["hint"]
    assert len(agent.run("list", "--json").json["backups"]) == 1


def test_a_log_that_can_not_be_written_costs_no_backup(agent: ConfinedAgent) -> None:
    outcome = piped(agent, "run-once", "--json", into="2> /dev/full")
    assert outcome.status == 0
    assert outcome.json["backup"]["status"] == "COMPLETED"


def test_wrong_usage_is_told_apart_from_refusals(agent: ConfinedAgent) -> None:
    assert agent.run("run-once", "--nope").status == 2
    assert agent.run("restore", "61f12fef-edb1-4561-8122-e7c00ef26a82").status == 2
    refused(agent.run("show", "../x"), "invalid_request", "rejected", "'../x' is not a backup id")

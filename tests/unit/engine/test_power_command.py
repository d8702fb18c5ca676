"""The operator's own commands: believed by their exit status, bounded in time, given no secrets."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Action
from backup_agent.engine.power_command import CommandPower
from backup_agent.errors import ErrorCode, InstanceError, InterruptedByOperator

PATIENT = 60.0


def ask(argv: list[str], seconds: float = PATIENT, cancellation: Cancellation | None = None) -> None:
    power = CommandPower({Action.RESTART: argv})
    with power.asked(Action.RESTART, seconds, cancellation or Cancellation()):
        pass


def failure(argv: list[str], seconds: float = PATIENT) -> str:
    with pytest.raises(InstanceError) as caught:
        ask(argv, seconds)
    assert caught.value.code is ErrorCode.POWER_FAILED
    assert caught.value.hint
    return caught.value.message


def test_a_command_that_succeeds_was_done(tmp_path: Path) -> None:
    ask(["touch", str(tmp_path / "done")])
    assert (tmp_path / "done").exists()


def test_one_that_fails_was_not_and_its_last_words_are_told() -> None:
    assert failure(["sh", "-c", "echo no such unit >&2; exit 3"]) == "restart: sh ended with status 3: no such unit"


def test_one_that_is_not_there_is_named() -> None:
    assert failure(["/nowhere/restart"]).startswith("/nowhere/restart can't be run: No such file")


def test_one_that_does_not_end_is_killed_after_its_time() -> None:
    assert failure(["sleep", "600"], 0.1) == "restart: sleep was not done after 0.1 s"


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ask(["sh", "-c", f"sleep 600 & echo $! > {pid}"])
    server = int(pid.read_text())
    assert Path(f"/proc/{server}").exists()
    ask(["kill", str(server)])


def test_a_cancellation_ends_the_wait() -> None:
    cancellation = Cancellation()
    stop = InterruptedByOperator(ErrorCode.INTERRUPTED, "the agent was stopped", "Wait.")
    thread = threading.Thread(target=lambda: cancellation.cancel(stop))
    thread.start()
    with pytest.raises(InterruptedByOperator):
        ask(["sleep", "600"], cancellation=cancellation)
    thread.join()


def test_it_gets_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKUP_AGENT_INSTANCE__PASSWORD", "Plant3d")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "Plant3d")
    ask([sys.executable, "-c", f"import os; open({str(tmp_path / 'seen')!r}, 'w').write(repr(os.environ))"])
    assert "Plant3d" not in (tmp_path / "seen").read_text()
    assert "PATH" in (tmp_path / "seen").read_text()


def test_only_what_has_a_command_can_be_asked_for() -> None:
    power = CommandPower({Action.RESTART: ["true"], Action.STOP: []})
    assert [power.can(action) for action in Action] == [True, False, False]

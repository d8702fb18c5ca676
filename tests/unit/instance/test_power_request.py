"""Root is asked by a file, which nobody leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Action
from backup_agent.errors import ErrorCode, InstanceError, InterruptedByOperator
from backup_agent.instance.power_request import NoPower, RequestedPower
from tests.faults.waiting import until


def test_it_is_done_when_root_has_removed_the_request(tmp_path: Path) -> None:
    power = RequestedPower(tmp_path, "x")
    request = tmp_path / "x.stop"

    def root() -> None:
        until(request.exists, "the request")
        request.unlink()

    thread = threading.Thread(target=root)
    thread.start()
    with power.asked(Action.STOP, 60, Cancellation()):
        assert not request.exists()
    thread.join()


def test_nobody_who_does_it_is_told_so_and_the_request_is_taken_back(tmp_path: Path) -> None:
    power = RequestedPower(tmp_path, "x")
    with pytest.raises(InstanceError) as caught, power.asked(Action.RESTART, 0.05, Cancellation()):
        pass
    assert caught.value.code is ErrorCode.POWER_FAILED
    assert "nobody has done it" in caught.value.message
    assert "backup-agent-power@x.path" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_stop_of_the_agent_takes_it_back(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel(InterruptedByOperator(ErrorCode.INTERRUPTED, "the agent was stopped", "Wait."))
    with pytest.raises(InterruptedByOperator), RequestedPower(tmp_path, "x").asked(Action.DELETE, 60, cancellation):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_request_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.restart").symlink_to(tmp_path / "aim")
    with pytest.raises(InstanceError), RequestedPower(tmp_path, "x").asked(Action.RESTART, 60, Cancellation()):
        pass
    assert not (tmp_path / "aim").exists()


def test_without_power_nothing_can_be_asked_for() -> None:
    assert not any(NoPower().can(action) for action in Action)

"""The asking side of the guard. The guard itself needs a systemd: tests/e2e/test_systemd_guard.py."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator
from backup_agent.instance.guard import Guard
from tests.faults.waiting import until


def test_the_request_is_there_while_the_backup_runs_and_gone_afterwards(tmp_path: Path) -> None:
    request = tmp_path / "id.guard"
    with Guard(request, None, 5).stand(Cancellation()) as warning:
        assert warning is None
        assert request.is_file()
    assert not request.exists()


def test_the_request_goes_also_when_the_backup_fails(tmp_path: Path) -> None:
    request = tmp_path / "id.guard"
    with pytest.raises(ZeroDivisionError), Guard(request, None, 5).stand(Cancellation()):
        raise ZeroDivisionError
    assert not request.exists()


def test_the_backup_begins_as_soon_as_the_guard_stands(tmp_path: Path) -> None:
    request, standing = tmp_path / "id.guard", tmp_path / "id"

    def come() -> None:
        until(request.exists, "the request")
        standing.touch()

    root = threading.Thread(target=come)
    root.start()
    with Guard(request, standing, 60).stand(Cancellation()) as warning:
        assert warning is None
        assert standing.exists()
    root.join()


def test_without_a_guard_the_backup_goes_on_with_a_warning_that_names_the_unit(tmp_path: Path) -> None:
    began = time.monotonic()
    with Guard(tmp_path / "id.guard", tmp_path / "the-instance", 0.1).stand(Cancellation()) as warning:
        assert warning is not None
        assert "did not come within 0.1 s" in warning
        assert "backup-agent-guard@the-instance.path" in warning
    assert time.monotonic() - began >= 0.1


def test_a_cancel_ends_the_wait_and_takes_the_request_back(tmp_path: Path) -> None:
    request, cancellation = tmp_path / "id.guard", Cancellation()

    def cancel() -> None:
        until(request.exists, "the request")
        cancellation.cancel(InterruptedByOperator(ErrorCode.INTERRUPTED, "interrupted by SIGTERM", "Run it again."))

    operator = threading.Thread(target=cancel)
    operator.start()
    with pytest.raises(InterruptedByOperator), Guard(request, tmp_path / "id", 60).stand(cancellation):
        pytest.fail("the backup began")
    operator.join()
    assert not request.exists()


def test_a_request_that_a_killed_agent_has_left_is_taken_over(tmp_path: Path) -> None:
    request = tmp_path / "id.guard"
    request.touch()
    with Guard(request, None, 5).stand(Cancellation()) as warning:
        assert warning is None
    assert not request.exists()


def test_a_request_that_can_not_be_made_is_a_warning(tmp_path: Path) -> None:
    request = tmp_path / "absent" / "id.guard"
    with Guard(request, tmp_path / "id", 60).stand(Cancellation()) as warning:
        assert warning == f"the guard can't be asked to keep the database running: {request}: No such file or directory"


def test_no_link_is_followed_to_make_the_request(tmp_path: Path) -> None:
    request, target = tmp_path / "id.guard", tmp_path / "target"
    request.symlink_to(target)
    with Guard(request, None, 5).stand(Cancellation()) as warning:
        assert warning is not None
    assert not target.exists()


def test_a_request_that_can_not_be_removed_is_told_and_left_to_the_guard(tmp_path: Path) -> None:
    request = tmp_path / "id.guard"
    with capture_logs() as logs, Guard(request, None, 5).stand(Cancellation()):
        request.unlink()
        request.mkdir()
    assert [line["event"] for line in logs] == ["the guard's request can't be removed"]

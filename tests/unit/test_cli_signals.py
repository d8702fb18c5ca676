"""What becomes of signals when a command no longer heeds them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from backup_agent.cli.signals import acted_upon, until_heeded


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """The test may leave SIGHUP in any state."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_signal_after_the_command_is_ignored_in_a_process_of_the_commands_own() -> None:
    signal.signal(signal.SIGHUP, until_heeded)
    with acted_upon((signal.SIGHUP,), lambda _: None):
        pass
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_anybody_elses_handler_comes_back() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    with acted_upon((signal.SIGHUP,), lambda _: None):
        pass
    os.kill(os.getpid(), signal.SIGHUP)
    assert heard == [signal.SIGHUP]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_command_ends_the_process_by_that_signal(number: signal.Signals) -> None:
    script = (
        "import signal; from backup_agent.cli.signals import until_heeded; "
        f"signal.signal({number:d}, until_heeded); signal.raise_signal({number:d})"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (-number, b"")

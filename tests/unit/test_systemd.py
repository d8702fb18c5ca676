"""What systemd hears, by a real socket."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.systemd import Notifier


class Systemd:
    """A datagram socket as systemd's, and what came in."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hears(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    """Once with a path, once in the abstract namespace, which containers use."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@backup-agent-test-{uuid.uuid4()}"
    systemd = Systemd(name)
    yield systemd
    systemd.close()


def test_systemd_hears_that_the_service_is_ready(systemd: Systemd) -> None:
    Notifier.of({"NOTIFY_SOCKET": systemd.address}).ready("idle")
    assert systemd.hears() == ["READY=1", "STATUS=idle"]


def test_systemd_hears_signs_of_life_and_the_end(systemd: Systemd) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": systemd.address})
    notifier.alive()
    assert systemd.hears() == ["WATCHDOG=1"]
    notifier.stopping("cancels the backup")
    assert systemd.hears() == ["STOPPING=1", "STATUS=cancels the backup"]


def test_a_status_of_several_lines_is_one_line_and_not_another_message(systemd: Systemd) -> None:
    Notifier.of({"NOTIFY_SOCKET": systemd.address}).status("copying\nREADY=1")
    assert systemd.hears() == ["STATUS=copying READY=1"]


def test_a_reload_says_when_it_began(systemd: Systemd) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier.of({"NOTIFY_SOCKET": systemd.address}).reloading()
    reloading, since = systemd.hears()
    assert reloading == "RELOADING=1"
    assert before <= int(since.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_more_time_can_be_asked_for(systemd: Systemd) -> None:
    Notifier.of({"NOTIFY_SOCKET": systemd.address}).needs_longer(1.5)
    assert systemd.hears() == ["EXTEND_TIMEOUT_USEC=1500000"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_outside_of_systemd_nothing_is_told_and_nothing_fails(environment: dict[str, str]) -> None:
    notifier = Notifier.of(environment)
    assert notifier.watchdog_s is None
    notifier.ready("idle")
    notifier.alive()


def test_a_systemd_that_is_gone_costs_a_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()
    assert [(line["log_level"], line["message"]) for line in logs] == [("warning", "WATCHDOG=1")]


def test_a_systemd_that_does_not_listen_holds_nobody_up_for_long(systemd: Systemd) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": systemd.address})
    with capture_logs() as logs:
        while not logs:  # until its queue is full
            notifier.alive()
    assert logs[0]["reason"] == "timed out"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_known_when_it_is_meant_for_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert Notifier.of(environment).watchdog_s == seconds

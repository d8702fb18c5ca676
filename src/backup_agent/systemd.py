"""What the service tells systemd, by the socket that systemd names in the environment (sd_notify).

Outside of systemd nothing is told, and nothing fails. What to tell and when is the service's business; a message that
can't be delivered is logged and lost, because a backup must not fail for that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Self

import structlog

log = structlog.get_logger(__name__)

_SEND_SECONDS = 1.0
"""systemd's socket may be full while it is busy; whoever feeds the watchdog must not hang for that."""
_MICROSECONDS = 1_000_000


class Notifier:
    """Safe from any thread. `address` is that of a Unix datagram socket, of the abstract namespace if it begins with @;
    None tells nobody.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = None if address is None else _socket_name(address)
        self.watchdog_s = watchdog_s
        """Seconds without `alive` after which systemd kills the service; tell it twice as often. None: no watchdog."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """By NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. A watchdog that is meant for another process is none."""
        address = environment.get("NOTIFY_SOCKET", "")
        return cls(address if address.startswith(("/", "@")) else None, _watchdog(environment))

    def ready(self, status: str) -> None:
        """The service has started, or has ended what `reloading` began."""
        self._tell("READY=1", _status(status))

    def status(self, text: str) -> None:
        """One line, for `systemctl status`."""
        self._tell(_status(text))

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` says when that is done."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", _status(status))

    def needs_longer(self, seconds: float) -> None:
        """While starting or stopping: from now on so long, whatever TimeoutStartSec and TimeoutStopSec say."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def _tell(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("systemd can't be told", message=assignments[0], reason=str(error))


def _socket_name(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def _status(text: str) -> str:
    """On one line: what follows a line break would be another message."""
    return f"STATUS={' '.join(text.split())}"


def _watchdog(environment: Mapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not ours or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / _MICROSECONDS

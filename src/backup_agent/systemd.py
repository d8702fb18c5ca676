"""What a service owes systemd: when it is ready, what it does, and that it lives. Nothing at all outside of systemd.

See sd_notify(3). What it does not do: decide when the service is well.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)

_MICROSECONDS = 1_000_000


class Systemd:
    """For one thread. A message that can't be sent is logged: systemd's own time-outs then do their work."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.watchdog_seconds = _watchdog(environment)
        """The service is killed when it gives no sign of life for so long; None without a watchdog."""

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def alive(self) -> None:
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows; sent when it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd can't be told", message=message.partition("\n")[0], reason=str(error))


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Only where it is meant for this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() and int(microseconds) > 0 else None

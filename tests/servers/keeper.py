"""Whoever keeps a private MariaDB running: restarts and stops it when a file asks for it, as root on a host does."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Self

from tests.servers.mariadb import PrivateMariaDB

ASKING = """
import sys, time
from pathlib import Path
request = Path(sys.argv[1])
request.touch()
while request.exists():
    time.sleep(0.01)
"""


class Keeper:
    """Looks for files `*.restart`, `*.stop` and `*.delete` in `directory`, and removes each when it has done it.

    What is done starts the server from this object's thread, which must outlive its use.
    """

    def __init__(self, server: PrivateMariaDB, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.idle = threading.Event()
        """Clear it to let requests wait."""
        self.idle.set()
        self.lies = False
        """Whether it only says that it has done it."""
        self.done: list[str] = []
        """What was asked for."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper")
        directory.mkdir(parents=True, exist_ok=True)

    def command(self, action: str) -> list[str]:
        """A command that asks, and ends when it was done."""
        return [sys.executable, "-c", ASKING, str(self.directory / f"by-command.{action}")]

    def waiting(self) -> list[str]:
        return [path.name for path in self.directory.iterdir() if path.suffix in {".restart", ".stop", ".delete"}]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._ended.wait(0.01):
            if self.idle.is_set():
                for name in self.waiting():
                    self._do(name)

    def _do(self, name: str) -> None:
        action = name.rpartition(".")[2]
        self.done.append(action)
        if not self.lies:
            self.server.stop()
            if action == "restart":
                self.server.start()
        (self.directory / name).unlink(missing_ok=True)

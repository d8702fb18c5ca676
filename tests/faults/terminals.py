"""A terminal with a person at it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Self

from tests.agent import SECONDS
from tests.faults.agents import ConfinedAgent
from tests.screen import shown

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LINES = 30


class Terminal:
    """Runs a command of the agent in the foreground of a terminal of its own, `columns` wide."""

    def __init__(self, agent: ConfinedAgent, *arguments: str | Path, columns: int = 100) -> None:
        self._columns = columns
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *agent.argv(*arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, **agent.environment, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self._seen = b""
        self._leave = threading.Event()
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    @property
    def raw(self) -> str:
        """All that was written, with what moves the cursor and colours. While the command runs, the last character may
        have come in part: it is left away.
        """
        return codecs.getincrementaldecoder("utf-8")().decode(self._seen)

    @property
    def text(self) -> str:
        """The same without that: a bar that was drawn anew is there more than once."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    @property
    def lines(self) -> list[str]:
        """What is to be seen in the end, the part that has scrolled away included."""
        return shown(self.raw, self._columns)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """As a lost connection does. A read under way would keep the terminal open, so it has to end first."""
        self._leave.set()
        self._reader.join()
        os.close(self._master)
        self._master = -1

    def end(self) -> int:
        """The exit status as a shell would see it."""
        try:
            status = self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join()
        return 128 - status if status < 0 else status

    def _read(self) -> None:
        while not self._leave.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # the last process at the terminal has ended
                return
            if not data:
                return
            self._seen += data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._master >= 0:
            os.close(self._master)

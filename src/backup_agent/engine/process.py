"""One child process of ours: it dies with us, its stderr is always drained, and it is stopped with SIGKILL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import psutil

from backup_agent.engine import channel
from backup_agent.engine.launch import SAME_USER
from backup_agent.errors import EngineError, ErrorCode

_LAUNCHER = Path(__file__).with_name("launch.py")
_LAST_LINES = 20
_OURS = ("BACKUP_AGENT_", "AWS_")


class EngineProcess:
    """Started in its own session, so that a terminal's Ctrl-C reaches only the agent, which then decides.

    `on_line` is called from a thread of this object's with each line of stderr and the monotonic time it was read.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_line: Callable[[str, float], None] | None = None,
        stdin: bool = False,
        stdout: bool = False,
        inherit: Sequence[int] = (),
        user: tuple[int, int] | None = None,
    ) -> None:
        """`user` is a user and a group id to run as; None: as ourselves."""
        self.name = Path(argv[0]).name
        self._on_line = on_line
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._lock = threading.Lock()
        self._stdin: IO[bytes] | None = None
        self._stdout: IO[bytes] | None = None
        its_stdin = its_stdout = subprocess.DEVNULL
        with ExitStack() as given:
            if stdin:
                self._stdin, its_stdin = given.enter_context(channel.writer())
            if stdout:
                self._stdout, its_stdout = given.enter_context(channel.reader())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), _user(user), *argv],
                stdin=its_stdin,
                stdout=its_stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                pass_fds=tuple(inherit),
                env=_environment(),
            )
        self._drain = threading.Thread(target=self._read_stderr, name=f"{self.name}-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        return _present(self._stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return _present(self._stdout)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of stderr, oldest first."""
        return tuple(self._last_lines)

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP, a debugger): it then holds its locks for as long as that lasts."""
        try:
            return psutil.Process(self.pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
        except psutil.NoSuchProcess:
            return False

    def send(self, number: int) -> None:
        """A signal; none once it has ended."""
        with self._lock:
            if self._process.poll() is None:
                self._process.send_signal(number)

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        """The exit status, negative for a signal, once stderr has been read to its end."""
        status = self._process.wait()
        self._drain.join()
        return status

    def kill(self) -> None:
        with self._lock:
            if self._process.poll() is None:
                self._process.kill()

    def close(self) -> None:
        """Kills if need be, waits, and closes our ends."""
        self.kill()
        self._process.wait()
        self._drain.join()
        for file in (self._stdin, self._stdout, self._process.stderr):
            if file is not None:
                file.close()

    def _read_stderr(self) -> None:
        pending = b""
        descriptor = _present(self._process.stderr).fileno()
        while data := os.read(descriptor, 1 << 16):
            now = time.monotonic()
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._take(line, now)
            pending = pending[-(1 << 16) :]
        if pending:
            self._take(pending, time.monotonic())

    def _take(self, line: bytes, now: float) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._last_lines.append(text)
            if self._on_line is not None:
                self._on_line(text, now)


def _user(user: tuple[int, int] | None) -> str:
    return SAME_USER if user is None else "{}:{}".format(*user)


def _environment() -> dict[str, str]:
    """Ours without what may be a secret: passwords and keys are the agent's business, not the engine's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def _present(file: IO[bytes] | None) -> IO[bytes]:
    if file is None:
        msg = "the process was started without this file"
        raise ValueError(msg)
    return file


def find_binary(name: str, *, also_in: str = "", key: str = "engine.binary and engine.stream_binary") -> str:
    """The absolute path of a program, from PATH or the directories of `also_in`; `key` is where the configuration names
    it. Raises EngineError (`engine_missing`).
    """
    path = shutil.which(name) or shutil.which(name, path=also_in)
    if path is None:
        package = "mariadb-server" if also_in else "mariadb-backup"
        raise EngineError(
            ErrorCode.ENGINE_MISSING,
            f"{name} is not installed, or not in PATH, or not executable",
            f"Install it (Debian: apt-get install {package}), or set {key}.",
        )
    return path


def run(argv: Sequence[str]) -> str:
    """Runs a short command and returns its output, stdout then stderr. Raises EngineError (`engine_missing`)."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=_environment(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(
            ErrorCode.ENGINE_MISSING, f"{argv[0]} can't be run: {error}", "Reinstall the package it comes from."
        ) from error
    return done.stdout + done.stderr

"""A private database server on a restored directory: the proof that one starts on it.

It dies with the thread that started it (PDEATHSIG), has no network and only a socket in its own directory, and is ended
by SIGKILL: its data is thrown away. What it does not do: ask it anything.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from backup_agent.cancellation import Cancellation
from backup_agent.engine.launch import CANNOT_RUN, PARENT_GONE
from backup_agent.engine.private_settings import SOCKET, arguments
from backup_agent.engine.process import EngineProcess, find_binary, run
from backup_agent.errors import EngineError, ErrorCode, TargetError

_READY = re.compile(r"ready for connections")
_ERROR = re.compile(r"\[ERROR\]")
_VERSION = re.compile(r"Ver (\S+)")
_NOT_THE_DATA = re.compile(
    r"unknown (?:option|variable)|Permission denied|Errcode: (?:13|24|28)\b|No space left|Cannot allocate memory|"
    r"Can't open shared library|[Cc]an't create thread|option '.*' requires"
)
"""Lines of a server that did not start which say nothing of the files."""
_NOT_BEGUN = (PARENT_GONE, CANNOT_RUN, 127)
"""Statuses of the launcher, and of a program whose libraries are not there."""
_LOOK_EVERY = 0.5
_START_WITHIN = 1800.0
"""Seconds. A server that is asked for nothing, on prepared files, takes one or two."""
_ERRORS = 20
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec"


@dataclass(frozen=True, slots=True)
class PrivateServerSettings:
    """`buffer_pool` in bytes; the rest as in the configuration."""

    binary: str
    buffer_pool: int
    include: Path | None
    extra_args: Sequence[str]


class PrivateServers:
    def __init__(self, settings: PrivateServerSettings) -> None:
        self._settings = settings

    @property
    def reads_keys(self) -> bool:
        """Whether it is told where the keys of data encrypted at rest are."""
        return self._settings.include is not None

    def version(self) -> str:
        """Such as `10.11.6-MariaDB`. Raises EngineError (`engine_missing`)."""
        said = run([self._binary(), "--no-defaults", "--version"])
        found = _VERSION.search(said)
        if found is None:
            raise EngineError(
                ErrorCode.ENGINE_MISSING,
                f"{self._settings.binary} does not say which version of the server it is",
                "Set verify.server_binary to mariadbd.",
            )
        return found[1]

    def check_reach(self, directory: Path, user: tuple[int, int] | None) -> None:
        """Raises TargetError (`target_unusable`) when that user can't use the directory, for the path's sake, say."""
        process = EngineProcess([find_binary("test"), "-w", str(directory), "-a", "-x", str(directory)], user=user)
        status = process.wait()
        process.close()
        if status != 0:
            who = f"user {user[0]}" if user else "this user"
            raise TargetError(
                ErrorCode.TARGET_UNUSABLE,
                f"{who}, as whom the private server is to run, can't reach {directory}",
                "Choose a verify.scratch_dir whose whole path that user may pass, or set verify.user.",
            )

    def serve(self, datadir: Path, user: tuple[int, int] | None, cancellation: Cancellation) -> PrivateServer:
        """One that is started when its context is entered. `user` is a user and a group id; None: ourselves."""
        settings = self._settings
        argv = [
            self._binary(),
            *arguments(datadir, buffer_pool=settings.buffer_pool, include=settings.include, extra=settings.extra_args),
        ]
        return PrivateServer(argv, datadir, user, cancellation)

    def _binary(self) -> str:
        return find_binary(self._settings.binary, also_in=_SBIN, key="verify.server_binary")


class PrivateServer:
    """Entering starts it and waits until it serves; leaving kills it, whatever it does."""

    def __init__(
        self, argv: Sequence[str], datadir: Path, user: tuple[int, int] | None, cancellation: Cancellation
    ) -> None:
        self._argv = argv
        self._datadir = datadir
        self._user = user
        self._cancellation = cancellation
        self._errors: deque[str] = deque(maxlen=_ERRORS)
        self._ready = threading.Event()
        self._process: EngineProcess | None = None
        self._directory: int | None = None

    @property
    def socket(self) -> Path:
        """Where it listens: a path of this process alone, short whatever the directory's own is."""
        return Path(f"/proc/self/fd/{self._directory}/{SOCKET}")

    @property
    def errors(self) -> tuple[str, ...]:
        """The last lines of its log that it calls errors."""
        return tuple(self._errors)

    @property
    def ended(self) -> bool:
        return self._running().poll() is not None

    def failure(self, doing: str) -> EngineError:
        """Of a server that ended while it was `doing` something: `restored_unusable` when the files are to blame."""
        process = self._running()
        status = process.wait()
        said = " | ".join(list(self._errors)[-5:] or process.last_lines[-5:])
        if status in _NOT_BEGUN or status == -signal.SIGKILL or _NOT_THE_DATA.search(said):
            return EngineError(
                ErrorCode.PRIVATE_SERVER_FAILED,
                f"the private server ended (status {status}) while {doing}, which says nothing of the backup: {said}",
                "Mend that (memory, permissions, verify.server_args), and verify again.",
            )
        return EngineError(
            ErrorCode.RESTORED_UNUSABLE,
            f"the server ended (status {status}) while {doing}: {said}",
            "Restore an earlier backup, and take a new full one.",
        )

    def kill(self) -> None:
        """From any thread. Idempotent."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self._cancellation.check()
        self._directory = os.open(self._datadir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._process = EngineProcess(self._argv, on_line=self._read, user=self._user)
            self._cancellation.on_cancel(self.kill)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _wait(self) -> None:
        waited = 0.0
        while not self._ready.wait(_LOOK_EVERY):
            self._cancellation.check()
            if self.ended:
                raise self.failure("starting")
            waited += _LOOK_EVERY
            if waited >= _START_WITHIN:
                raise EngineError(
                    ErrorCode.PRIVATE_SERVER_FAILED,
                    f"the private server was not ready after {waited:.0f} s; it last said: "
                    f"{' | '.join(self._running().last_lines[-5:])}",
                    "Find out what holds it up, such as a slow disk, and verify again.",
                )

    def _read(self, line: str, _: float) -> None:
        if _ERROR.search(line):
            self._errors.append(line)
        if _READY.search(line):
            self._ready.set()

    def _running(self) -> EngineProcess:
        if self._process is None:
            msg = "the server has not been started: enter its context first"
            raise ValueError(msg)
        return self._process

"""Starts and stops the server by the operator's own commands. Implements instance.administration.Power.

A command is run without a shell, and outlives the agent if that dies: a restart is better finished than left half-way.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Action
from backup_agent.errors import ErrorCode, InstanceError

_LOOK_SECONDS = 0.05
_SHOWN_BYTES = 500
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS")
"""Of the environment: secrets are in the rest."""


class CommandPower:
    """Safe from any thread."""

    def __init__(self, commands: Mapping[Action, Sequence[str]]) -> None:
        """`commands` are argument vectors; an action without one can't be asked for."""
        self._commands = {action: list(argv) for action, argv in commands.items() if argv}

    def can(self, action: Action) -> bool:
        return action in self._commands

    @contextmanager
    def asked(self, action: Action, seconds: float, cancellation: Cancellation) -> Iterator[None]:
        argv = self._commands[action]
        with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as a server that inherits it
            status = _run(argv, output, time.monotonic() + seconds, cancellation)
            if status != 0:
                why = f"was not done after {seconds:g} s" if status is None else f"ended with status {status}"
                raise InstanceError(
                    ErrorCode.POWER_FAILED,
                    f"{action.value}: {Path(argv[0]).name} {why}{_last_words(output)}",
                    f"Run administration.{action.value}_command by hand, as the agent's user.",
                )
        yield


def _run(argv: Sequence[str], output: IO[bytes], deadline: float, cancellation: Cancellation) -> int | None:
    """The exit status; None when it was killed for its time."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        )
    except OSError as error:
        raise InstanceError(
            ErrorCode.POWER_FAILED,
            f"{argv[0]} can't be run: {error.strerror}",
            "See that the command in [administration] exists, and that the agent's user may run it.",
        ) from error
    try:
        while process.poll() is None and time.monotonic() < deadline:
            cancellation.check()
            cancellation.wait(_LOOK_SECONDS)
    finally:
        ended = process.poll()
        if ended is None:
            process.kill()
            process.wait()
    return ended


def _last_words(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _SHOWN_BYTES))
    words = " ".join(output.read().decode("utf-8", "replace").split())
    return f": {words}" if words else ""

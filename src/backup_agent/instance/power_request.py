"""Asks the host to restart or stop the database. It only asks: the agent has no such power itself.

The asking is an empty file whose name says what for. Root's `backup-agent-power@.path` waits for it and starts
systemd/backup-agent-power, which knows the database's unit, does it, and removes the file. Implements
instance.administration.Power.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Action
from backup_agent.errors import ErrorCode, InstanceError

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.05


class RequestedPower:
    """`directory` is the one that the path unit watches."""

    def __init__(self, directory: Path, instance_id: str) -> None:
        self._directory = directory
        self._instance_id = instance_id

    def can(self, action: Action) -> bool:
        """Root decides."""
        return action in Action

    def request(self, action: Action) -> Path:
        return self._directory / f"{self._instance_id}.{action.value}"

    @contextmanager
    def asked(self, action: Action, seconds: float, cancellation: Cancellation) -> Iterator[None]:
        request = self.request(action)
        _make(request)
        try:
            deadline = time.monotonic() + seconds
            while request.exists():
                if time.monotonic() >= deadline:
                    raise InstanceError(
                        ErrorCode.POWER_FAILED,
                        f"{action.value}: nobody has done it within {seconds:g} s",
                        f"Enable backup-agent-power@{self._instance_id}.path, and look at the log of its service.",
                    )
                cancellation.check()
                cancellation.wait(_LOOK_SECONDS)
            yield
        finally:
            _take_back(request)


class NoPower:
    """Where nobody is to start or stop the server for the agent."""

    def can(self, action: Action) -> bool:
        del action
        return False

    @contextmanager
    def asked(self, action: Action, seconds: float, cancellation: Cancellation) -> Iterator[None]:
        del seconds, cancellation
        msg = f"{action} can't be asked for"
        raise ValueError(msg)
        yield


def _make(request: Path) -> None:
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        os.close(os.open(request, flags, 0o644))
    except OSError as error:
        raise InstanceError(
            ErrorCode.POWER_FAILED,
            f"{request} can't be made: {error.strerror}",
            f"See that {request.parent} is the agent's own (systemd: RuntimeDirectory=backup-agent).",
        ) from error


def _take_back(request: Path) -> None:
    try:
        request.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a request to the host can't be removed", path=str(request), reason=error.strerror)

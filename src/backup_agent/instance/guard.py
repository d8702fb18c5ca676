"""Asks the host to keep the database running while a backup runs. It only asks: the agent has no such power itself.

The asking is a file, `request`, that is there while the backup runs. Root's `backup-agent-guard@.path` waits for it and
starts the guard (systemd/backup-agent-guard), which refuses `systemctl stop` of the database and holds off a shutdown
until the instance's lock is free. So the lock must be held whenever the request is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from backup_agent.cancellation import Cancellation

log = structlog.get_logger(__name__)

STANDING_DIRECTORY = Path("/run/backup-agent-guard")
"""Root's: here the guard of each instance says that it stands, by a file named by the instance's id."""
_LOOK_SECONDS = 0.02


class Guard:
    """`standing` is the file that says that the guard stands, None not to wait for it; `wait` is for how many seconds
    at most.
    """

    def __init__(self, request: Path, standing: Path | None, wait: float) -> None:
        self.request = request
        self.standing = standing
        self.wait = wait

    @contextmanager
    def stand(self, cancellation: Cancellation) -> Iterator[str | None]:
        """Inside of the instance's lock: asks, waits, and takes the request back at the end.

        Yields None when the guard stands (or nobody waits for it), else a warning to be told: the backup goes on
        without it. Raises the reason of `cancellation` when cancelled while it waits.
        """
        warning = self._ask()
        try:
            if warning is None:
                warning = self._wait(cancellation)
            yield warning
        finally:
            self._take_back()

    def _ask(self) -> str | None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            os.close(os.open(self.request, flags, 0o644))
        except OSError as error:
            return f"the guard can't be asked to keep the database running: {self.request}: {error.strerror}"
        return None

    def _wait(self, cancellation: Cancellation) -> str | None:
        if self.standing is None:
            return None
        deadline = time.monotonic() + self.wait
        while not self.standing.exists():
            if time.monotonic() >= deadline:
                return (
                    f"the guard did not come within {self.wait:g} s, so systemd would stop the database if asked to:"
                    f" is backup-agent-guard@{self.standing.name}.path enabled?"
                )
            if cancellation.wait(_LOOK_SECONDS):
                cancellation.check()
        return None

    def _take_back(self) -> None:
        try:
            self.request.unlink(missing_ok=True)
        except OSError as error:  # the guard ends with the lock in any case, and removes the request then
            log.warning("the guard's request can't be removed", path=str(self.request), reason=error.strerror)

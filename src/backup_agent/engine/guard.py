"""The agent's side of the guardian: starts it beside an engine, and gives it signs of life."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from backup_agent.engine.guardian import FREE, KILLED, LOCKED

_GUARDIAN = Path(__file__).with_name("guardian.py")
_BEAT_EVERY = 0.25
_END_WITHIN = 5.0


class Guard:
    """Safe from any thread. `seconds` of silence are borne while tables are locked."""

    def __init__(self, pid: int, seconds: float) -> None:
        """`pid` is a child of this process, not waited for yet."""
        self._lock = threading.Lock()
        self._beaten = 0.0
        descriptor = os.pidfd_open(pid)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARDIAN), str(descriptor), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
                pass_fds=[descriptor],
                env={"PATH": os.defpath},
            )
        finally:
            os.close(descriptor)

    def beat(self, *, locked: bool, now: bool = False) -> None:
        """Cheap to call often. `now` is for a change of what is locked."""
        with self._lock:
            at = time.monotonic()
            if (now or at - self._beaten >= _BEAT_EVERY) and self._process.stdin is not None:
                self._beaten = at
                with suppress(BrokenPipeError, ValueError):  # it has ended, or we have
                    self._process.stdin.write(LOCKED if locked else FREE)

    @property
    def has_killed(self) -> bool:
        """Whether the engine, which has ended, was killed by the guardian."""
        self.close()
        return self._process.returncode == KILLED

    def close(self) -> None:
        """Ends the guardian. Idempotent."""
        with self._lock:
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

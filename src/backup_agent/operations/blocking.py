"""Whose statements keep a backup from its locks: waits for them, names them, and, if that is allowed, ends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.errors import EngineError, ErrorCode, InstanceError
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.interface import Instance
from backup_agent.operations.clock import Clock

log = structlog.get_logger(__name__)

OnBlocker = Literal["fail", "kill", "wait"]
_ASK_EVERY = 0.1
"""Seconds between two questions to the server."""
_LASTING = 1.0
"""Seconds. A busy server writes some MyISAM table at any moment; a statement of milliseconds is in nobody's way."""
_AFTER_KILL = 2.0
"""Seconds for killed statements to go: an UPDATE of a MyISAM table ends at its next row."""
_NAMED = 3


class Blockers:
    """Asks the instance. Its notices are for the operation's thread to tell; all else may be called from others."""

    def __init__(self, instance: Instance, datadir: Path, on_blocker: OnBlocker) -> None:
        self._instance = instance
        self._datadir = datadir
        self._on_blocker = on_blocker
        self._notices: deque[str] = deque()
        self._told: set[tuple[int, int]] = set()

    def notices(self) -> Sequence[str]:
        """What is to be told since the last call."""
        return [self._notices.popleft() for _ in range(len(self._notices))]

    def patience(self, stage: str, wait: float, now: float, *, engine_waits: bool) -> Patience:
        return Patience(self, stage, wait, now, engine_waits)

    def await_none(self, wait: float, clock: Clock, cancellation: Cancellation, tell: Callable[[str], None]) -> None:
        """Returns when nobody would make the engine wait. Raises EngineError (`lock_blocked`) after `wait` seconds."""
        patience = self.patience("START", wait, clock.monotonic(), engine_waits=False)
        while patience.look(clock.monotonic()):
            for notice in self.notices():
                tell(notice)
            cancellation.check()
            clock.sleep(_ASK_EVERY)

    def find(self, *, engine_waits: bool) -> tuple[Blocker, ...] | None:
        """Those that have lasted for a while, or, when the engine waits already, all.

        None when the server can't be asked: no reason to end a backup, whose engine will notice.
        """
        try:
            found = self._instance.blockers(self._datadir)
        except InstanceError as error:
            log.warning("can't ask who blocks the backup", code=error.code, reason=error.message)
            return None
        if not engine_waits:
            found = tuple(blocker for blocker in found if blocker.age_s >= _LASTING)
        for blocker in found:
            if (blocker.id, blocker.query_id) not in self._told:
                self._told.add((blocker.id, blocker.query_id))
                self._notices.append(f"the backup waits for {blocker}")
        return found

    @property
    def are_waited_for(self) -> bool:
        """Whether the engine shall wait in line, as it would without us, and blockers are only named."""
        return self._on_blocker == "wait"

    def names(self, found: Sequence[Blocker]) -> str:
        """For a message."""
        if not found:
            return (
                "somebody the server does not name (an idle session with LOCK TABLES ... WRITE? INSTALL SONAME "
                "'metadata_lock_info' makes the server tell)"
            )
        named = [f"{blocker}{self._why_alive(blocker)}" for blocker in found[:_NAMED]]
        return "; ".join(named) + (f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else "")

    def _why_alive(self, blocker: Blocker) -> str:
        return f", not killed: {blocker.protected}" if self._on_blocker == "kill" and blocker.protected else ""

    def end(self, found: Sequence[Blocker]) -> bool:
        """Kills what may be killed; whether anything was."""
        if self._on_blocker != "kill":
            return False
        killed = False
        for blocker in found:
            if blocker.protected is None and self._instance.kill_query(blocker):
                self._notices.append(f"killed the statement of {blocker}")
                killed = True
        return killed


@dataclass(slots=True)
class Patience:
    """With the blockers of one stage: how long they have been waited for, and what comes when it ends."""

    blockers: Blockers
    stage: str
    wait: float
    since: float
    engine_waits: bool
    """Then somebody is in the way even when the server names nobody."""
    _asked: float = field(default=float("-inf"))
    _blocked: bool = True
    _killed: bool = False

    def look(self, now: float) -> bool:
        """Whether to wait because somebody is in the way. Asks the server only now and then.

        Raises EngineError (`lock_blocked`) when that has lasted for too long, and InstanceError (`grant_missing`).
        """
        if now - self._asked < _ASK_EVERY:
            return self._blocked
        self._asked = now
        found = self.blockers.find(engine_waits=self.engine_waits)
        self._blocked = bool(found)
        if self.blockers.are_waited_for:
            return False
        if now - self.since > self.wait:
            self._run_out(found or (), now)
        return self._blocked

    def _run_out(self, found: Sequence[Blocker], now: float) -> None:
        if not self._killed and self.blockers.end(found):
            self._killed = True
            self.since, self.wait = now, _AFTER_KILL
            return
        if not found and not self.engine_waits:
            return
        raise EngineError(
            ErrorCode.LOCK_BLOCKED,
            f"the backup waited {now - self.since:.1f} s for its locks (stage {self.stage}): for "
            f"{self.blockers.names(found)}",
            "Take the backup when such statements do not run; locks.blocker_wait_s and locks.stall_wait_s say how long "
            'to wait for them, and locks.on_blocker = "kill" lets the backup end them.',
        )

"""Watches what a running backup does to the writers of the database, and ends it before it harms them.

A thread of its own, because the engine, the reader of its stream or the store may all stand still. It looks at: how
long tables have been locked, who makes the engine wait for its locks, and whether engine, reader and agent move at
all. An agent that is stopped altogether can't look: for that there is the engine's guardian, which wants to hear of us.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from backup_agent.engine.interface import EngineRun
from backup_agent.errors import EngineError, ErrorCode
from backup_agent.operations.blocking import Blockers, OnBlocker, Patience
from backup_agent.operations.clock import Clock
from backup_agent.stream.intake import Activity

_ROOM_WITHIN = 1.0
"""Seconds that an engine is held for our memory: its redo log is not copied meanwhile."""
_TICK = 0.02
"""Seconds between two looks at the engine's log and our own clock."""


@dataclass(frozen=True, slots=True)
class LockPolicy:
    """What a backup may do to writers. Times in seconds."""

    max_lock: float
    """How long tables may be locked, waiting included."""
    blocker_wait: float
    """How long to wait for blockers while no writer waits behind the engine: before its start, in its first stage."""
    stall_wait: float
    """How long the engine may wait for blockers with writers behind it, and be held back from that beforehand."""
    on_blocker: OnBlocker
    standstill: float
    """How long a stopped engine or a stuck reader is borne while tables are locked."""

    @property
    def kills(self) -> bool:
        """Whether what blocks may be killed, which takes privileges of its own."""
        return self.on_blocker == "kill"


class LockWatch:
    """As a context manager: watches from its beginning to its end. `abort` is called at most once, from the thread."""

    def __init__(
        self,
        run: EngineRun,
        blockers: Blockers,
        policy: LockPolicy,
        clock: Clock,
        *,
        reader: Callable[[], tuple[Activity, float] | None],
        make_room: Callable[[], bool],
        abort: Callable[[Exception], None],
    ) -> None:
        """`reader` tells what the thread that reads the stream does, and since when by the monotonic clock;
        `make_room` makes it ready for what comes when tables are locked, and tells whether it is.
        """
        self._run = run
        self._blockers = blockers
        self._policy = policy
        self._clock = clock
        self._reader = reader
        self._make_room = make_room
        self._abort = abort
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lock-watch")
        self._patience: Patience | None = None
        self._stopped_since: float | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        last = self._clock.monotonic()
        try:
            while not self._ended.wait(_TICK):
                now = self._clock.monotonic()
                self._run.beat()
                if (since := self._run.locked_since) is not None:
                    self._check_budget(now - since)
                    self._check_movement(now, since, last)
                self._check_waiting(now)
                last = now
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody would watch any more, or let a held engine go
            self._abort(error)

    def _check_budget(self, seconds: float) -> None:
        if seconds > self._policy.max_lock:
            raise EngineError(
                ErrorCode.LOCK_BUDGET_EXCEEDED,
                f"tables were locked for {seconds:.1f} s, more than the {self._policy.max_lock:g} s that are allowed; "
                "the engine was killed and the locks are free",
                "Convert large MyISAM and Aria tables to InnoDB, see that the spool has room for them, or raise "
                "locks.max_lock_seconds.",
            )

    def _check_movement(self, now: float, since: float, last: float) -> None:
        borne = self._policy.standstill
        if now - max(since, last) > borne:
            raise _stalled(f"this agent stood still for {now - last:.1f} s")
        if not self._run.stopped:
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        elif now - self._stopped_since > borne:
            raise _stalled(f"the engine was stopped by a signal for {now - self._stopped_since:.1f} s")
        reader = self._reader()
        if reader is not None and reader[0] is Activity.SPOOLING and now - max(reader[1], since) > borne:
            raise _stalled(f"writing to the spool has not returned for {now - reader[1]:.1f} s")

    def _check_waiting(self, now: float) -> None:
        held = self._run.held
        stage = self._run.waits_for
        if held:
            stage = "FLUSH"
        if stage is None:
            self._patience = None
            return
        if self._patience is None or (self._patience.stage, self._patience.engine_waits) != (stage, not held):
            stalls = held or self._run.locked_since is not None
            wait = self._policy.stall_wait if stalls else self._policy.blocker_wait
            self._patience = self._blockers.patience(stage, wait, now, engine_waits=not held)
        waits = self._patience.look(now)
        if held and not waits and (self._make_room() or now - self._patience.since > _ROOM_WITHIN):
            self._run.resume()


def _stalled(what: str) -> EngineError:
    return EngineError(
        ErrorCode.ENGINE_STALLED,
        f"{what} while tables were locked; the engine was killed and the locks are free",
        "Find out who stops processes or what blocks the disk on this host, then take the backup again.",
    )

"""When the watch over a backup's locks ends it, and when it lets it go on; the engine and the server are made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from backup_agent.engine.interface import EngineRun
from backup_agent.errors import BackupAgentError, ErrorCode, InstanceError
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.interface import Instance
from backup_agent.operations.blocking import Blockers, OnBlocker
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.lock_watch import LockPolicy, LockWatch
from backup_agent.stream.intake import Activity

PATIENT = LockPolicy(max_lock=600, blocker_wait=600, stall_wait=600, on_blocker="fail", standstill=600)
UPDATE = Blocker(
    id=12,
    query_id=77,
    user="shop",
    host="10.0.0.5",
    age_s=34.2,
    statement="UPDATE notes SET a = 1",
    why="writes shop.notes (MyISAM)",
    protected=None,
)


def until(condition: object) -> None:
    deadline = time.monotonic() + 30
    while not (condition() if callable(condition) else condition):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@dataclass
class Run:
    """An engine's run as far as the watch looks at it."""

    locked_since: float | None = None
    waits_for: str | None = None
    held: bool = False
    stopped: bool = False
    beats: int = 0
    has_room: bool = True

    def beat(self) -> None:
        self.beats += 1

    def resume(self) -> None:
        self.held = False


@dataclass
class Server:
    """Whose blockers are as told; what is killed leaves unless it is stubborn."""

    found: list[Blocker] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    stubborn: bool = False
    away: bool = False
    asked: int = 0

    def blockers(self, _: Path) -> tuple[Blocker, ...]:
        self.asked += 1
        if self.away:
            raise InstanceError(ErrorCode.DATABASE_UNREACHABLE, "it is away", "Bring it back.")
        return tuple(self.found)

    def kill_query(self, blocker: Blocker) -> bool:
        self.killed.append(blocker.id)
        if not self.stubborn:
            self.found.remove(blocker)
        return True


@dataclass
class Watching:
    run: Run
    server: Server
    blockers: Blockers
    aborted: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def abort(self, error: Exception) -> None:
        self.error = error
        self.aborted.set()

    def ended_with(self, code: ErrorCode, *words: str) -> None:
        assert self.aborted.wait(30)
        assert isinstance(self.error, BackupAgentError)
        assert self.error.code is code
        assert all(word in self.error.message for word in words), self.error.message


@contextmanager
def watching(
    policy: LockPolicy,
    run: Run,
    server: Server | None = None,
    reader: tuple[Activity, float] | None = None,
) -> Iterator[Watching]:
    server = server or Server()
    blockers = Blockers(cast("Instance", server), Path("/var/lib/mysql"), policy.on_blocker)
    state = Watching(run, server, blockers)
    watch = LockWatch(
        cast("EngineRun", run),
        blockers,
        policy,
        SystemClock(),
        reader=lambda: reader,
        make_room=lambda: run.has_room,
        abort=state.abort,
    )
    with watch:
        yield state


def test_a_backup_that_locks_nothing_is_let_alone() -> None:
    policy = replace(PATIENT, max_lock=0, standstill=0)
    with watching(policy, Run(stopped=True), Server([UPDATE])) as state:
        until(lambda: state.run.beats > 5)
    assert not state.aborted.is_set()
    assert state.server.asked == 0


def test_locks_that_last_too_long_end_the_backup() -> None:
    with watching(replace(PATIENT, max_lock=5), Run(locked_since=time.monotonic() - 6)) as state:
        state.ended_with(ErrorCode.LOCK_BUDGET_EXCEEDED, "more than the 5 s that are allowed")


def test_a_fault_of_the_watch_itself_ends_the_backup() -> None:
    """Or a held engine would be held for ever."""

    class Faulty(Run):
        def beat(self) -> None:
            raise ZeroDivisionError

    with watching(PATIENT, Faulty(held=True)) as state:
        assert state.aborted.wait(30)
        assert isinstance(state.error, ZeroDivisionError)


def test_a_stopped_engine_ends_the_backup_while_tables_are_locked() -> None:
    with watching(replace(PATIENT, standstill=0.1), Run(locked_since=time.monotonic(), stopped=True)) as state:
        state.ended_with(ErrorCode.ENGINE_STALLED, "the engine was stopped by a signal")


@pytest.mark.parametrize("activity", list(Activity))
def test_a_disk_that_does_not_return_ends_the_backup_and_waiting_for_others_does_not(activity: Activity) -> None:
    now = time.monotonic()
    run = Run(locked_since=now - 100)
    with watching(replace(PATIENT, standstill=50), run, reader=(activity, now - 60)) as state:
        if activity is Activity.SPOOLING:
            state.ended_with(ErrorCode.ENGINE_STALLED, "writing to the spool")
        else:
            until(lambda: state.run.beats > 5)
            assert not state.aborted.is_set()


def test_an_engine_without_blockers_is_not_held() -> None:
    with watching(PATIENT, Run(held=True)) as state:
        until(lambda: not state.run.held)
    assert not state.aborted.is_set()


def test_an_engine_is_held_until_there_is_room_for_what_it_locks_but_not_for_long() -> None:
    with watching(PATIENT, Run(held=True, has_room=False)) as state:
        until(lambda: state.server.asked >= 2)
        assert state.run.held
        until(lambda: not state.run.held)
    assert not state.aborted.is_set()


def test_an_engine_is_held_until_its_blockers_have_gone() -> None:
    with watching(PATIENT, Run(held=True), Server([UPDATE])) as state:
        until(lambda: state.server.asked >= 2)
        assert state.run.held
        state.server.found.clear()
        until(lambda: not state.run.held)
    assert list(state.blockers.notices()) == [f"the backup waits for {UPDATE}"]


def test_statements_of_a_moment_hold_nobody() -> None:
    with watching(PATIENT, Run(held=True), Server([replace(UPDATE, age_s=0.2)])) as state:
        until(lambda: not state.run.held)
    assert list(state.blockers.notices()) == []


def test_a_server_that_cannot_be_asked_holds_nobody() -> None:
    with watching(PATIENT, Run(held=True), Server(away=True)) as state:
        until(lambda: not state.run.held)


@pytest.mark.parametrize("run", [Run(held=True), Run(waits_for="FLUSH", locked_since=time.monotonic())])
def test_blockers_that_stay_end_the_backup_and_are_named(run: Run) -> None:
    with watching(replace(PATIENT, stall_wait=0.2), replace(run), Server([UPDATE])) as state:
        state.ended_with(ErrorCode.LOCK_BLOCKED, "stage FLUSH", "connection 12 of shop@10.0.0.5, 34.2 s: UPDATE notes")
    assert state.server.killed == []


def test_waiting_for_an_unknown_blocker_ends_as_well() -> None:
    with watching(replace(PATIENT, blocker_wait=0.2), Run(waits_for="START")) as state:
        state.ended_with(ErrorCode.LOCK_BLOCKED, "stage START", "LOCK TABLES ... WRITE")


def test_a_wait_is_measured_stage_by_stage() -> None:
    """Time spent at START, with nobody behind the engine, is not held against FLUSH."""
    policy = replace(PATIENT, blocker_wait=0.3, stall_wait=600)
    with watching(policy, Run(waits_for="START")) as state:
        until(lambda: state.server.asked >= 1)
        state.run.waits_for, state.run.locked_since = "FLUSH", time.monotonic()
        asked = state.server.asked
        until(lambda: state.server.asked > asked + 5)
    assert not state.aborted.is_set()


def test_blockers_are_killed_where_that_is_allowed() -> None:
    policy = replace(PATIENT, stall_wait=0.2, on_blocker="kill")
    with watching(policy, Run(held=True), Server([UPDATE])) as state:
        until(lambda: not state.run.held)
    assert state.server.killed == [12]
    assert list(state.blockers.notices())[-1] == f"killed the statement of {UPDATE}"


@pytest.mark.parametrize(
    ("blocker", "stubborn", "killed"), [(UPDATE, True, [12]), (replace(UPDATE, protected="has SUPER"), False, [])]
)
def test_blockers_that_survive_end_the_backup(blocker: Blocker, killed: list[int], *, stubborn: bool) -> None:
    policy = replace(PATIENT, stall_wait=0.2, on_blocker="kill")
    with watching(policy, Run(held=True), Server([blocker], stubborn=stubborn)) as state:
        state.ended_with(ErrorCode.LOCK_BLOCKED, "connection 12")
    assert state.server.killed == killed


@pytest.mark.parametrize("on_blocker", ["wait"])
def test_who_waits_in_line_names_the_blockers_and_goes_on(on_blocker: OnBlocker) -> None:
    policy = replace(PATIENT, stall_wait=0, blocker_wait=0, on_blocker=on_blocker)
    with watching(policy, Run(held=True, waits_for="FLUSH"), Server([UPDATE])) as state:
        until(lambda: not state.run.held)
        until(lambda: state.server.asked >= 3)
    assert not state.aborted.is_set()
    assert list(state.blockers.notices()) == [f"the backup waits for {UPDATE}"]

"""What no backup needs is collected, and nothing else."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.domain.process import ProcessId
from backup_agent.errors import BusyError, ErrorCode, StoreError
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.instance.process import namespace, this_process
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.delete_objects import Removed
from backup_agent.operations.garbage import Collection, Search, collect
from backup_agent.operations.garbage_marker import Marker
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import StoredObject
from tests.faults.agents import ConfinedAgent
from tests.faults.traces import contents
from tests.shelves import stored
from tests.unit.operations.wired import Desk

DAY = 86_400


@pytest.fixture
def agent(desk: Desk) -> ConfinedAgent:
    return desk.agent


def leave(agent: ConfinedAgent, *names: str, instance_id: str | None = None, days: float = 2) -> Path:
    """Objects of a backup that is none, put so many days ago; their directory."""
    directory = agent.store / "z_CLOUDDB_BACKUPS" / (instance_id or agent.instance_id) / str(uuid.uuid4())
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_bytes(b"x" * 100)
    age(directory, days)
    return directory


def age(directory: Path, days: float) -> None:
    then = time.time() - days * DAY
    for path in directory.rglob("*"):
        os.utime(path, (then, then))


def sign(directory: Path, *, beat: datetime, here: bool = False, dead: bool = False, days: float = 2) -> None:
    """An attempt's sign of life, as of `beat`, from this host or another one."""
    process = ProcessId(pid=2**22 + 1, started="none/1") if dead else this_process()
    marker = Marker(
        host=os.uname().nodename if here else "elsewhere",
        namespace=namespace() if here else "other",
        process=process,
        beat=f"{beat.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z",
    )
    (directory / "attempt-00000004.json").write_text(marker.model_dump_json())
    age(directory, days)


def collected(desk: Desk, *, grace: float = 24, dry: bool = False, everywhere: bool = False) -> Collection:
    search = Search(timedelta(hours=grace), everywhere=everywhere, dry=dry)
    return collect(search, desk.services, Cancellation(), lambda _: None)


def test_old_chunks_without_a_manifest_go_and_the_backups_stay(desk: Desk, agent: ConfinedAgent) -> None:
    backup = contents(agent.directory(desk.shelf.twin))
    old = leave(agent, "chunk-00000000.zst", "chunk-00000001.zst.age", "manifest.json.sig", "pin")
    young = leave(agent, "chunk-00000000.zst", days=0.5)
    dry = collected(desk, dry=True)
    assert {one.place.backup_id: one.kept is None for one in dry.garbage} == {old.name: True, young.name: False}
    assert old.exists()
    found = collected(desk)
    assert found.removed == Removed(4, 400)
    assert stored(agent) == desk.shelf.first_chain | desk.shelf.second_chain | {young.name}
    assert contents(agent.directory(desk.shelf.twin)) == backup
    assert collected(desk, grace=6).removed.objects == 1
    assert collected(desk).garbage == []
    assert all(path.is_dir() for path in agent.directory("").iterdir()), "no probe stays"


def a_sign_of_a_moment_ago(directory: Path) -> None:
    sign(directory, beat=datetime.now(UTC))


def a_sign_by_a_clock_that_is_behind(directory: Path) -> None:
    sign(directory, beat=datetime.now(UTC) - timedelta(hours=23))


def a_process_of_this_host(directory: Path) -> None:
    sign(directory, beat=datetime.now(UTC), here=True)


def a_sign_nobody_understands(directory: Path) -> None:
    (directory / "attempt-00000001.json").write_text("?")
    age(directory, 2)


@pytest.mark.parametrize(
    "give",
    [
        a_sign_of_a_moment_ago,
        a_sign_by_a_clock_that_is_behind,
        a_process_of_this_host,
        a_sign_nobody_understands,
    ],
)
def test_a_living_attempt_is_let_live_however_old_its_chunks_are(
    desk: Desk, agent: ConfinedAgent, give: Callable[[Path], None]
) -> None:
    directory = leave(agent, "chunk-00000000.zst")
    give(directory)
    (found,) = collected(desk).garbage
    assert found.kept == "an attempt gives signs of life"
    assert (directory / "chunk-00000000.zst").exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_dead_attempt_is_not(desk: Desk, agent: ConfinedAgent, here: bool) -> None:  # noqa: FBT001 - a parameter
    directory = leave(agent, "chunk-00000000.zst")
    moment = datetime.now(UTC) if here else datetime.now(UTC) - timedelta(days=2)
    sign(directory, beat=moment, here=here, dead=True)
    assert collected(desk).removed.objects == 2
    assert not directory.exists()


def test_a_sign_that_stayed_beside_a_whole_backup_goes(desk: Desk, agent: ConfinedAgent) -> None:
    directory = agent.directory(desk.shelf.twin)
    before = contents(directory)
    sign(directory, beat=datetime.now(UTC), here=True, dead=True, days=0)
    assert collected(desk).removed.objects == 1
    assert contents(directory) == before


def test_what_is_not_ours_is_told_of_and_stays(desk: Desk, agent: ConfinedAgent) -> None:
    strange = leave(agent, "chunk-00000000.zst", "notes.txt")
    beside = agent.directory(desk.shelf.twin) / "chunk-1.zst"
    beside.write_bytes(b"mine")
    above = agent.directory(desk.shelf.twin).parent / "readme"
    above.write_bytes(b"mine")
    found = collected(desk)
    assert {Path(key).name for key in found.foreign} == {"notes.txt", "chunk-1.zst", "readme"}
    assert found.removed.objects == 1
    assert [path.name for path in strange.iterdir()] == ["notes.txt"]
    assert beside.exists()
    assert above.exists()


def test_other_instances_are_looked_at_only_when_that_is_asked_for(desk: Desk, agent: ConfinedAgent) -> None:
    other = leave(agent, "chunk-00000000.zst", instance_id=str(uuid.uuid4()))
    assert collected(desk).garbage == []
    assert collected(desk, everywhere=True).removed.objects == 1
    assert not other.exists()


class Ahead(SystemClock):
    def now(self) -> datetime:
        return super().now() + timedelta(days=400)


def test_a_clock_of_this_host_that_is_wrong_makes_nothing_older(desk: Desk, agent: ConfinedAgent) -> None:
    young = leave(agent, "chunk-00000000.zst", days=0)
    desk.services = replace(desk.services, clock=Ahead())
    (found,) = collected(desk).garbage
    assert found.kept == "its youngest object is younger than the grace time"
    assert young.exists()


def test_nothing_is_collected_while_somebody_has_the_instance(desk: Desk, agent: ConfinedAgent) -> None:
    old = leave(agent, "chunk-00000000.zst")
    lock = InstanceLock(agent.runtime_dir, agent.instance_id)
    with lock.acquire(LockHolder.here("restore", None, datetime.now(UTC))), pytest.raises(BusyError):
        collected(desk)
    assert old.exists()


def test_what_a_store_does_not_date_is_never_garbage(desk: Desk, agent: ConfinedAgent) -> None:
    class Dateless(StoreInFront):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            for one in super().list(prefix):
                yield StoredObject(one.key, one.size, one.modified if "/clock-" in one.key else None)

    leave(agent, "chunk-00000000.zst")
    desk.services = desk.with_store(Dateless)
    (found,) = collected(desk).garbage
    assert found.kept == "the store does not say how old it is"


def test_what_the_store_keeps_by_a_lock_keeps_nothing_else(desk: Desk, agent: ConfinedAgent) -> None:
    locked, free = leave(agent, "chunk-00000000.zst"), leave(agent, "chunk-00000000.zst")

    class Locking(StoreInFront):
        def delete(self, key: str) -> None:
            if locked.name in key:
                raise StoreError(ErrorCode.OBJECT_LOCKED, f"{key} is kept until tomorrow", "Wait for that.")
            super().delete(key)

    desk.services = desk.with_store(Locking)
    assert len(collected(desk).garbage) == 2
    assert locked.exists()
    assert not free.exists()

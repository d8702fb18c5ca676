"""`backup-agent gc`: what no backup needs goes, and nothing else; on a directory and on S3."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_agent.domain.process import ProcessId
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.instance.process import namespace, this_process
from backup_agent.operations.garbage_marker import Marker
from tests.e2e.shelves import listed, stored
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.conftest import CREATE_SHOP
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import contents
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

DAY = 86_400


@dataclass(frozen=True)
class Taken:
    agent: ConfinedAgent
    backup_id: str


@pytest.fixture(scope="module")
def server(shared_mariadb: PrivateMariaDB) -> PrivateMariaDB:
    shared_mariadb.execute("DROP DATABASE IF EXISTS shop", *CREATE_SHOP)
    return shared_mariadb


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, server: PrivateMariaDB) -> Taken:
    agent = ConfinedAgent(tmp_path_factory.mktemp("taken") / "agent", server)
    return Taken(agent, agent.backup()["id"])


@pytest.fixture
def agent(taken: Taken, server: PrivateMariaDB, tmp_path: Path) -> ConfinedAgent:
    agent = ConfinedAgent(tmp_path / "agent", server, instance_id=taken.agent.instance_id)
    shutil.copytree(taken.agent.store, agent.store)
    return agent


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


def collected(agent: ConfinedAgent, *arguments: str) -> dict[str, Any]:
    outcome = agent.run("gc", "--json", *arguments)
    assert outcome.status == 0, outcome.stderr
    found: dict[str, Any] = outcome.json["garbage"]
    return found


def test_old_chunks_without_a_manifest_go_and_the_backups_stay(agent: ConfinedAgent, taken: Taken) -> None:
    backup = contents(agent.directory(taken.backup_id))
    old = leave(agent, "chunk-00000000.zst", "chunk-00000001.zst.age", "manifest.json.sig", "pin")
    young = leave(agent, "chunk-00000000.zst", days=0.5)
    dry = collected(agent, "--dry-run")
    assert {one["id"]: one["kept"] is None for one in dry["found"]} == {old.name: True, young.name: False}
    assert old.exists()
    found = collected(agent)
    assert found["removed"] == {"objects": 4, "bytes": 400}
    assert stored(agent) == {taken.backup_id, young.name}
    assert contents(agent.directory(taken.backup_id)) == backup
    assert collected(agent, "--grace", "6")["removed"]["objects"] == 1
    assert collected(agent)["found"] == []
    assert [path.name for path in agent.directory("").iterdir()] == [taken.backup_id], "no probe stays"


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
    agent: ConfinedAgent, give: Callable[[Path], None]
) -> None:
    directory = leave(agent, "chunk-00000000.zst")
    give(directory)
    (found,) = collected(agent)["found"]
    assert found["kept"] == "an attempt gives signs of life"
    assert (directory / "chunk-00000000.zst").exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_dead_attempt_is_not(agent: ConfinedAgent, here: bool) -> None:  # noqa: FBT001 - a parameter
    directory = leave(agent, "chunk-00000000.zst")
    moment = datetime.now(UTC) if here else datetime.now(UTC) - timedelta(days=2)
    sign(directory, beat=moment, here=here, dead=True)
    assert collected(agent)["removed"]["objects"] == 2
    assert not directory.exists()


def test_a_sign_that_stayed_beside_a_whole_backup_goes(agent: ConfinedAgent, taken: Taken) -> None:
    directory = agent.directory(taken.backup_id)
    before = contents(directory)
    sign(directory, beat=datetime.now(UTC), here=True, dead=True, days=0)
    assert collected(agent)["removed"]["objects"] == 1
    assert contents(directory) == before


def test_a_backup_that_is_being_taken_is_not_looked_at_and_shows_signs_of_life(
    agent: ConfinedAgent, server: PrivateMariaDB
) -> None:
    with notes_are_written(server) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(lambda: any("chunk-" in name for name in agent.stored_files()[-3:]), "chunks")
        signs = [name for name in agent.stored_files() if "attempt-00000001.json" in name]
        assert len(signs) == 1
        refused(agent.run("gc"), "instance_busy", "busy")
        release()
        ended = running.end()
        assert ended.status == 0
    assert not [name for name in agent.stored_files() if "attempt-" in name]
    assert len(listed(agent)) == 2


def test_what_is_not_ours_is_told_of_and_stays(agent: ConfinedAgent, taken: Taken) -> None:
    strange = leave(agent, "chunk-00000000.zst", "notes.txt")
    beside = agent.directory(taken.backup_id) / "chunk-1.zst"
    beside.write_bytes(b"mine")
    above = agent.directory(taken.backup_id).parent / "readme"
    above.write_bytes(b"mine")
    found = collected(agent)
    assert {Path(key).name for key in found["foreign"]} == {"notes.txt", "chunk-1.zst", "readme"}
    assert found["removed"]["objects"] == 1
    assert [path.name for path in strange.iterdir()] == ["notes.txt"]
    assert beside.exists()
    assert above.exists()


def test_other_instances_are_looked_at_only_when_that_is_asked_for(agent: ConfinedAgent) -> None:
    other = leave(agent, "chunk-00000000.zst", instance_id=str(uuid.uuid4()))
    assert collected(agent)["found"] == []
    assert collected(agent, "--all-instances")["removed"]["objects"] == 1
    assert not other.exists()


def test_a_clock_of_this_host_that_is_wrong_makes_nothing_older(agent: ConfinedAgent, tmp_path: Path) -> None:
    """By the store's clock, all of it is young."""
    young = leave(agent, "chunk-00000000.zst", days=0)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "sitecustomize.py").write_text(
        "from backup_agent.operations import clock\n"
        "from datetime import timedelta\n"
        "now = clock.SystemClock.now\n"
        "clock.SystemClock.now = lambda self: now(self) + timedelta(days=400)\n"
    )
    agent.environment["PYTHONPATH"] = f"{wrong}:{os.environ.get('PYTHONPATH', '')}"
    (found,) = collected(agent)["found"]
    assert found["kept"] == "its youngest object is younger than the grace time"
    assert young.exists()


def test_nothing_is_collected_while_somebody_has_the_instance(agent: ConfinedAgent) -> None:
    old = leave(agent, "chunk-00000000.zst")
    agent.run("list")
    lock = InstanceLock(agent.runtime_dir, agent.instance_id)
    with lock.acquire(LockHolder.here("restore", None, datetime.now(UTC))):
        refused(agent.run("gc"), "instance_busy", "busy")
    assert old.exists()

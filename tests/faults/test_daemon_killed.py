"""kill -9 of the daemon at every step of a backup, and at random ones: the next start brings everything to its end."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_agent.instance.lock import InstanceLock, LockHolder
from tests.agent import checksums
from tests.daemon import Daemon, Platform, at_work, cancel, create, daemon_agent
from tests.e2e.judging import broken_tables, serving
from tests.faults.agents import ConfinedAgent
from tests.faults.killpoint import FAILING, POINTS, RECOVERING
from tests.faults.stalls import notes_are_written
from tests.faults.test_daemon import id_of, kinds
from tests.faults.traces import lock_is_free, processes, writers_are_free
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

LAUNCHER = str(Path(__file__).with_name("killpoint.py"))
COMMITTED = {"the manifest is stored", "COMPLETED is noted", "told, and not noted to be", "told"}
"""From the manifest on the backup exists, and has COMPLETED."""
NOT_BEGUN = {
    "a command came, and is not journaled",
    "journaled, not acknowledged",
    "begun",
    "locked",
    "before BUILDING is noted",
}
"""Then nothing was lost: the next start takes the backup."""
LOCKED = "tables are locked"
CHANCE = random.Random(26)
MOMENTS = [round(CHANCE.uniform(0, 2.5), 2) for _ in range(8)]
"""Seconds after a command was sent: from before it has come to after the backup's end."""


@pytest.fixture
def agent(tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    return daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url])


@pytest.fixture
def platform(agent: ConfinedAgent, shared_rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(shared_rabbitmq, agent) as platform:
        yield platform


def nothing_is_left(agent: ConfinedAgent, shop: PrivateMariaDB, backups: set[str]) -> None:
    """The daemon has ended; of all it did there are only these backups, whole."""
    assert processes(agent) == []
    assert lock_is_free(agent)
    assert writers_are_free(shop)
    assert {backup["id"] for backup in agent.run("list", "--json").json["backups"]} == backups
    directories = {name.split("/")[2] for name in agent.stored_files()}
    assert directories == backups, "stray objects"
    assert [path.name for path in agent.runtime_dir.glob("*") if path.suffix != ".lock"] == []
    assert not agent.spool_dir.exists() or list(agent.spool_dir.iterdir()) == []


def killed_at(point: str, agent: ConfinedAgent, *, mark: Path) -> Daemon:
    return Daemon(agent, prefix=[LAUNCHER, point, str(mark)])


@contextmanager
def reached(point: str, shop: PrivateMariaDB) -> Iterator[None]:
    """A backup that begins meanwhile comes to the point. That tables are locked is told only while they are."""
    with notes_are_written(shop) if point == LOCKED else nullcontext():
        yield


def restores(agent: ConfinedAgent, backup_id: str, target: Path, shop: PrivateMariaDB) -> None:
    agent.restore(backup_id, target)
    with serving(target) as restored:
        assert broken_tables(restored) == []
        assert checksums(restored, ["shop"]).keys() == checksums(shop, ["shop"]).keys()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_step_of_a_backup(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    message = create(agent)
    backup_id = id_of(message)
    with reached(point, shop), killed_at(point, agent, mark=tmp_path / "killed") as first:
        platform.await_queue()
        platform.send(message)
        assert first.end().status == -9, first.text
    with Daemon(agent) as second:
        event = platform.await_end(backup_id)
        ended = "backup.completed" if point in COMMITTED | NOT_BEGUN else "backup.failed"
        assert event["type"] == ended, second.text
        if ended != "backup.completed":
            assert event["data"]["error"]["code"] == "interrupted"
        following = create(agent)
        second.await_ready()
        platform.await_queue()
        platform.send(following)
        assert platform.await_end(id_of(following))["type"] == "backup.completed"
        assert second.stop().status == 0
    assert set(kinds(platform, backup_id)) <= {"backup.accepted", "backup.started", ended}
    sequence = [one["data"]["sequence"] for one in platform.events(backup_id)]
    assert sequence == sorted(sequence)
    completed = {id_of(following)} | ({backup_id} if ended == "backup.completed" else set())
    nothing_is_left(agent, shop, completed)
    if ended == "backup.completed":
        restores(agent, backup_id, tmp_path / "restored", shop)


@pytest.mark.parametrize("point", FAILING)
def test_killed_at_each_step_of_a_failure(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    message = create(agent)
    with notes_are_written(shop) as release:
        with killed_at(point, agent, mark=tmp_path / "killed") as first:
            platform.await_queue()
            platform.send(message)
            platform.await_event(id_of(message), "backup.started")
            until(lambda: len(agent.stored_files()) > 2, "chunks in the store")
            platform.send(cancel(id_of(message)))
            assert first.end().status == -9, first.text
        release()
    with Daemon(agent) as second:
        event = platform.await_end(id_of(message))
        assert (event["type"], event["data"]["error"]["code"]) == ("backup.failed", "cancelled")
        second.await_ready()
        assert second.stop().status == 0
    nothing_is_left(agent, shop, set())


@pytest.mark.parametrize("point", RECOVERING)
def test_killed_at_each_step_of_the_recovery(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    message = create(agent)
    with reached(LOCKED, shop), killed_at(LOCKED, agent, mark=tmp_path / "first") as first:
        platform.await_queue()
        platform.send(message)
        assert first.end().status == -9, first.text
    with killed_at(point, agent, mark=tmp_path / "second") as second:
        assert second.end().status == -9, second.text
    with Daemon(agent) as third:
        event = platform.await_end(id_of(message))
        assert (event["type"], event["data"]["error"]["code"]) == ("backup.failed", "interrupted")
        third.await_ready()
        assert third.stop().status == 0
    nothing_is_left(agent, shop, set())


def test_an_interrupted_backup_is_taken_again_where_that_is_wanted_so_often(
    tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    extra = {"service": {"retry_interrupted": True, "max_attempts": 2}}
    agent = daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url], extra=extra)
    lucky, unlucky = create(agent), create(agent)
    with Platform(shared_rabbitmq, agent) as platform:
        with reached(LOCKED, shop), killed_at(LOCKED, agent, mark=tmp_path / "first") as first:
            platform.await_queue()
            platform.send(lucky)
            assert first.end().status == -9
        with killed_at(LOCKED, agent, mark=tmp_path / "first") as second:
            assert platform.await_end(id_of(lucky))["type"] == "backup.completed"
            (tmp_path / "first").unlink()
            with reached(LOCKED, shop):
                platform.send(unlucky)
                assert second.end().status == -9
        with reached(LOCKED, shop), killed_at(LOCKED, agent, mark=tmp_path / "third") as third:
            assert third.end().status == -9
        with Daemon(agent) as fourth:
            event = platform.await_end(id_of(unlucky))
            assert (event["type"], event["data"]["error"]["code"]) == ("backup.failed", "interrupted")
            fourth.await_ready()
            assert fourth.stop().status == 0
    nothing_is_left(agent, shop, {id_of(lucky)})


def test_an_interrupted_backup_does_not_block_the_queue_while_somebody_else_has_the_instance(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path
) -> None:
    interrupted, refused, following = create(agent), create(agent), create(agent)
    with reached(LOCKED, shop), killed_at(LOCKED, agent, mark=tmp_path / "first") as first:
        platform.await_queue()
        platform.send(interrupted)
        assert first.end().status == -9
    lock = InstanceLock(agent.runtime_dir, agent.instance_id)
    with ExitStack() as restoring:
        restoring.enter_context(lock.acquire(LockHolder.here("restore", None, datetime.now(UTC))))
        with at_work(agent, platform):
            platform.send(refused)
            assert platform.await_end(id_of(refused))["data"]["error"]["code"] == "instance_busy"
            assert not platform.events(id_of(interrupted), "backup.failed")
            restoring.close()
            assert platform.await_end(id_of(interrupted))["data"]["error"]["code"] == "interrupted"
            platform.send(following)
            assert platform.await_end(id_of(following))["type"] == "backup.completed"
    nothing_is_left(agent, shop, {id_of(following)})


def test_killed_at_random_moments_no_command_is_lost_and_nothing_is_left(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path
) -> None:
    sent = []
    for moment in MOMENTS:
        with at_work(agent, platform) as daemon:
            sent.append(create(agent))
            platform.send(sent[-1])
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(moment)
            daemon.kill()
    with Daemon(agent) as last:
        ends = {id_of(message): platform.await_end(id_of(message))["type"] for message in sent}
        last.await_ready()
        assert last.stop().status == 0
    assert set(ends.values()) <= {"backup.completed", "backup.failed", "backup.rejected"}
    completed = {backup_id for backup_id, end in ends.items() if end == "backup.completed"}
    nothing_is_left(agent, shop, completed)
    for backup_id in completed:
        restores(agent, backup_id, tmp_path / backup_id, shop)

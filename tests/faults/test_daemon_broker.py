"""The broker goes away, hangs, or is full, while a backup runs: no command is lost, none is carried out twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon import Daemon, Platform, at_work, create, daemon_agent
from tests.faults.agents import ConfinedAgent
from tests.faults.stalls import notes_are_written
from tests.faults.test_daemon import FULL_STORY, id_of, kinds
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.server

TICK = "[{rabbit, [{channel_tick_interval, 1000}]}]"
"""Milliseconds: how often the broker looks for deliveries that are held for longer than consumer_timeout."""
HELD_S = 5


@pytest.fixture(scope="module")
def fragile_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    """It is killed, restarted and filled; a delivery must not be held for more than a moment."""
    settings = {"consumer_timeout": HELD_S * 1000}
    with PrivateRabbitMQ(tmp_path_factory.mktemp("fragile"), settings=settings, advanced=TICK) as broker:
        yield broker


@pytest.fixture
def proxy(fragile_broker: PrivateRabbitMQ) -> Iterator[TcpProxy]:
    with TcpProxy(fragile_broker.port) as proxy:
        yield proxy


@pytest.fixture
def agent(tmp_path: Path, shop: PrivateMariaDB, proxy: TcpProxy) -> ConfinedAgent:
    extra = {"service": {"heartbeat_s": 1}}
    return daemon_agent(tmp_path / "agent", shop, [f"amqp://127.0.0.1:{proxy.port}"], extra=extra)


@pytest.fixture
def platform(agent: ConfinedAgent, fragile_broker: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(fragile_broker, agent) as platform:
        yield platform


def one_backup(agent: ConfinedAgent, platform: Platform, backup_id: str) -> None:
    """It was taken once, and told of in order. An event may have been told twice, by an agent whose confirm was lost or
    by a broker that has lost the platform's acknowledgement, and then together with those that follow it.
    """
    assert {backup["id"] for backup in agent.run("list", "--json").json["backups"]} == {backup_id}
    told = list(dict.fromkeys(kinds(platform, backup_id)))
    assert told == FULL_STORY
    sequence = list(dict.fromkeys(event["data"]["sequence"] for event in platform.events(backup_id)))
    assert sequence == sorted(sequence)


def test_a_backup_longer_than_the_brokers_patience_is_taken_once(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB
) -> None:
    message = create(agent)
    with at_work(agent, platform) as daemon, notes_are_written(shop) as release:
        platform.send(message)
        event = platform.await_event(id_of(message), "backup.started")
        until(lambda: _seconds_told(platform, event) > 2 * HELD_S, "a time longer than consumer_timeout")
        release()
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
        assert not daemon.said("the connection to the broker is lost")
    one_backup(agent, platform, id_of(message))


def _seconds_told(platform: Platform, started: dict[str, object]) -> float:
    progress = platform.events(str(started["subject"]), "backup.progress")
    if not progress:
        return 0
    times = [datetime.fromisoformat(str(event["time"])) for event in (started, progress[-1])]
    return (times[1] - times[0]).total_seconds()


def test_the_broker_dies_and_comes_back_during_a_backup(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, fragile_broker: PrivateRabbitMQ
) -> None:
    message = create(agent)
    with at_work(agent, platform) as daemon:
        with notes_are_written(shop) as release:
            platform.send(message)
            platform.await_event(id_of(message), "backup.started")
            fragile_broker.settle()
            fragile_broker.kill()
            release()
            daemon.await_word("backup.completed")
        fragile_broker.start()
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
        platform.await_queue()
        until(lambda: outbox_depth(agent) == 0, "the broker's word that it has all events")
        assert daemon.stop().status == 0
    one_backup(agent, platform, id_of(message))


def outbox_depth(agent: ConfinedAgent) -> int:
    return int(agent.run("status", "--json").json["status"]["outbox"]["depth"])


def test_a_command_sent_while_the_agent_is_away_is_carried_out_when_it_is_back(
    agent: ConfinedAgent, platform: Platform, fragile_broker: PrivateRabbitMQ
) -> None:
    message = create(agent)
    with at_work(agent, platform) as daemon:
        daemon.kill()
    platform.send(message)
    fragile_broker.settle()
    fragile_broker.kill()
    with Daemon(agent) as daemon:
        daemon.await_ready()
        fragile_broker.start()
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
    one_backup(agent, platform, id_of(message))


def test_a_line_that_is_cut_again_and_again(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, proxy: TcpProxy
) -> None:
    message = create(agent)
    with at_work(agent, platform), notes_are_written(shop) as release:
        platform.send(message)
        for _ in range(3):
            before = len(platform.heartbeats())
            proxy.cut()
            until(lambda: len(platform.heartbeats()) > before, "a connection")  # noqa: B023 - asked at once
        release()
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
    one_backup(agent, platform, id_of(message))


def test_a_broker_whose_disk_is_full(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, fragile_broker: PrivateRabbitMQ
) -> None:
    message = create(agent)
    with at_work(agent, platform) as daemon, notes_are_written(shop) as release:
        platform.send(message)
        platform.await_event(id_of(message), "backup.started")
        with fragile_broker.without_room():
            daemon.await_word("the broker takes no messages now")
            release()
            daemon.await_word("backup.completed")
            assert not platform.events(id_of(message), "backup.completed")
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
    one_backup(agent, platform, id_of(message))

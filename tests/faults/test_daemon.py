"""The daemon, a real broker and a real database: commands in, backups made, events out."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from backup_agent.domain.state import Phase
from tests.agent import checksums
from tests.daemon import Daemon, Platform, at_work, cancel, command, create, daemon_agent
from tests.e2e.judging import serving
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.stalls import notes_are_written
from tests.faults.traces import lock_is_free, nothing_left_behind, processes
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB, free_port
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

FULL_STORY = ["backup.accepted", "backup.started", "backup.completed"]


@pytest.fixture
def agent(tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    return daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url])


@pytest.fixture
def platform(agent: ConfinedAgent, shared_rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(shared_rabbitmq, agent) as platform:
        yield platform


def id_of(message: dict[str, object]) -> str:
    return str(json.loads(json.dumps(message))["data"]["backup"]["id"])


def kinds(platform: Platform, backup_id: str) -> list[str]:
    """Without warnings: of what holds the backup up, say."""
    return [event["type"] for event in platform.events(backup_id) if event["type"] != "backup.warning"]


def test_a_command_becomes_a_backup_that_restores(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, tmp_path: Path
) -> None:
    full, incremental = create(agent, "sunday"), create(agent, "monday", incremental=True)
    with at_work(agent, platform) as daemon:
        platform.send(full)
        assert platform.await_end(id_of(full))["type"] == "backup.completed"
        before = checksums(shop, ["shop"])
        platform.send(incremental)
        completed = platform.await_end(id_of(incremental))
        assert daemon.stop().status == 0

    assert kinds(platform, id_of(full)) == kinds(platform, id_of(incremental)) == FULL_STORY
    told = completed["data"]
    assert (told["status"], told["name"], told["parent_id"]) == ("COMPLETED", "monday", id_of(full))
    assert completed["source"] == f"urn:backup-agent:instance:{agent.instance_id}"
    shown = agent.run("show", told["id"], "--json").json["backup"]
    assert {name: told[name] for name in ("checksum", "locationRef", "size")} == {
        name: shown[name] for name in ("checksum", "locationRef", "size")
    }
    agent.restore(told["id"], tmp_path / "restored")
    with serving(tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


def test_events_come_in_order_and_progress_says_how_far_it_is(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB
) -> None:
    message = create(agent)
    with notes_are_written(shop) as release, at_work(agent, platform):
        platform.send(message)
        until(lambda: _phases(platform, id_of(message)).count("blocking") >= 2, "progress while it is blocked")
        release()
        platform.await_end(id_of(message))
    everything = [event for event in platform._events if event["subject"] == id_of(message)]  # noqa: SLF001 - in order
    sequence = [event["data"]["sequence"] for event in everything]
    assert sequence == sorted(set(sequence))
    assert [event["id"] for event in everything] == [f"{id_of(message)}/{number}" for number in sequence]
    phases = list(dict.fromkeys(_phases(platform, id_of(message))))
    assert phases == [phase.value for phase in Phase if phase.value in phases], (
        "in their order, where none was replaced"
    )
    assert "blocking" in phases
    assert all(0 <= event["data"]["percent"] <= 99 for event in everything[:-1])
    assert everything[-1]["data"]["percent"] == 100


def _phases(platform: Platform, backup_id: str) -> list[str]:
    return [event["data"]["phase"] for event in platform.events(backup_id, "backup.progress")]


def test_a_command_that_comes_again_attaches_and_then_hears_the_end_again(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB
) -> None:
    message, last = create(agent), create(agent)
    with notes_are_written(shop) as release, at_work(agent, platform):
        platform.send(message, {**message, "id": "sent again by a platform that heard nothing"}, last)
        platform.await_event(id_of(message), "backup.started")
        assert platform.await_end(id_of(last))["type"] == "backup.rejected", "so those before it have been taken over"
        release()
        platform.await_end(id_of(message))
        assert kinds(platform, id_of(message)) == FULL_STORY
        platform.send(message)
        until(lambda: len(platform.events(id_of(message), "backup.completed")) == 2, "the last event again")
    first, second = platform.events(id_of(message), "backup.completed")
    assert first == second
    assert len(agent.run("list", "--json").json["backups"]) == 1


def test_a_second_backup_is_rejected_whoever_takes_the_first(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB
) -> None:
    running, refused, also_refused = create(agent), create(agent), create(agent)
    with at_work(agent, platform):
        with notes_are_written(shop) as release:
            platform.send(running, refused)
            _is_rejected_as_busy(platform, id_of(refused), f"instance is busy: backup {id_of(running)}")
            assert agent.run("run-once").error["code"] == "instance_busy"
            release()
            platform.await_event(id_of(running), "backup.completed")
        until(lambda: lock_is_free(agent), "the lock, which is released after that is told")
        with notes_are_written(shop) as release, Running(agent, "run-once", "--json") as by_hand:
            by_hand.await_word("backup.progress", phase="blocking")
            platform.send(also_refused)
            _is_rejected_as_busy(
                platform, id_of(also_refused), f"instance is busy: backup of backup .* pid {by_hand.pid}"
            )
            release()
            taken = by_hand.end().json["backup"]["id"]
        assert platform.await_end(taken)["type"] == "backup.completed", "the daemon tells what run-once did"
        assert kinds(platform, taken) == FULL_STORY
        platform.send(refused)
        until(lambda: len(platform.events(id_of(refused))) == 2, "the same answer to the same command")
    assert {backup["id"] for backup in agent.run("list", "--json").json["backups"]} == {id_of(running), taken}


def _is_rejected_as_busy(platform: Platform, backup_id: str, words: str) -> None:
    event = platform.await_end(backup_id)
    assert event["type"] == "backup.rejected"
    assert event["data"]["status"] == "FAILED"
    error = event["data"]["error"]
    assert (error["code"], error["status"]) == ("instance_busy", 422)
    assert re.search(words, error["message"])


def test_a_cancelled_backup_leaves_nothing(agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB) -> None:
    message = create(agent)
    with at_work(agent, platform):
        with notes_are_written(shop) as release:
            platform.send(message)
            until(lambda: "blocking" in _phases(platform, id_of(message)), "the locks")
            platform.send(cancel(id_of(message)))
            event = platform.await_end(id_of(message))
            assert (event["type"], event["data"]["error"]["code"]) == ("backup.failed", "cancelled")
            release()
        until(lambda: agent.stored_files() == [], "an empty store")
        platform.send(cancel(id_of(message)))
        until(lambda: len(platform.events(id_of(message), "backup.failed")) == 2, "the last event again")
        again = create(agent)
        platform.send(again)
        assert platform.await_end(id_of(again))["type"] == "backup.completed"


def test_an_expired_command_is_rejected(agent: ConfinedAgent, platform: Platform) -> None:
    late, early = create(agent), create(agent)
    now = datetime.now(UTC)
    late["expires"] = (now - timedelta(seconds=1)).isoformat()
    early["expires"] = (now + timedelta(hours=1)).isoformat()
    with at_work(agent, platform):
        platform.send(late)
        event = platform.await_end(id_of(late))
        assert (event["type"], event["data"]["error"]["code"]) == ("backup.rejected", "command_expired")
        platform.send(early)
        assert platform.await_end(id_of(early))["type"] == "backup.completed"


def test_what_nobody_can_understand_is_dead_lettered_and_the_next_command_served(
    agent: ConfinedAgent, platform: Platform
) -> None:
    good, foreign = create(agent), create(agent, instance_id="61f12fef-edb1-4561-8122-e7c00ef26a82")
    bad: dict[str, dict[str, object] | bytes] = {
        "it is not JSON": b"back up, please",
        "UnicodeDecodeError": b"\xff\xfe",
        "RecursionError": b"[" * 100_000,
        "specversion: Field required": b"{}",
        "its type is 'backup.make'": command("backup.make", {}),
        "dataschema": command("backup.create", {}) | {"dataschema": "urn:backup-agent:command:v9"},
        "data.backup: Field required": command("backup.create", {}),
        "data.colour: Extra inputs": command("backup.create", {**create(agent)["data"], "colour": "blue"}),
        "data.backup.name: String should have at most 64": create(agent, "n" * 65),
        "data.backup.id: must be a UUID": create(agent, id="../x"),
        "this agent serves instance": foreign,
        "was never asked of this agent": cancel("61f12fef-edb1-4561-8122-e7c00ef26a82"),
        "it has more than 1048576 bytes": b"x" * (10 << 20),
    }
    with at_work(agent, platform) as daemon:
        platform.dead_letters()  # whatever tests of other modules have left there
        platform.send(*bad.values(), good)
        assert platform.await_end(id_of(good))["type"] == "backup.completed"
        letters = platform.dead_letters()
        assert daemon.stop().status == 0
    assert len(letters) == len(bad)
    for words, (headers, _) in zip(bad, letters, strict=True):
        assert words in " ".join(map(str, headers.values()))
    assert letters[0][1] == b"back up, please"
    assert not platform.events(id_of(foreign))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_cancels_the_running_backup_and_ends_well(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB, number: signal.Signals
) -> None:
    message = create(agent)
    with nothing_left_behind(agent, shop), at_work(agent, platform) as daemon, notes_are_written(shop) as release:
        platform.send(message)
        until(lambda: "blocking" in _phases(platform, id_of(message)), "the locks")
        daemon.process.send_signal(number)
        assert daemon.end().status == 0, daemon.text
        assert processes(agent) == []
        release()
        event = platform.await_end(id_of(message))
        assert (event["type"], event["data"]["error"]["code"]) == ("backup.failed", "interrupted")


def test_on_stop_finish_lets_the_backup_end_and_takes_nothing_new(
    tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    agent = daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url], extra={"service": {"on_stop": "finish"}})
    running, later = create(agent), create(agent)
    with Platform(shared_rabbitmq, agent) as platform:
        with at_work(agent, platform) as daemon, notes_are_written(shop) as release:
            platform.send(running)
            until(lambda: "blocking" in _phases(platform, id_of(running)), "the locks")
            daemon.process.terminate()
            until(lambda: _connections(daemon, shared_rabbitmq) == 1, "the end of the inbox: only events are told")
            platform.send(later)
            assert not daemon.ended
            release()
            assert daemon.end().status == 0, daemon.text
        assert platform.await_end(id_of(running))["type"] == "backup.completed"
        assert not platform.events(id_of(later))
        with Daemon(agent):
            assert platform.await_end(id_of(later))["type"] == "backup.completed"


def _connections(daemon: Daemon, broker: PrivateRabbitMQ) -> int:
    """Of the agent to the broker: one for commands, one for events. (What the broker says of a queue that is slow to
    answer is that nobody consumes from it.)
    """
    connections = psutil.Process(daemon.process.pid).net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == broker.port for one in connections)


def test_sighup_takes_a_good_configuration_and_keeps_the_old_one_for_a_bad_one(
    agent: ConfinedAgent, platform: Platform, shop: PrivateMariaDB
) -> None:
    with at_work(agent, platform) as daemon:
        good = agent.config_file.read_text()
        agent.config_file.write_text(good.replace("[store]", '[store]\ncolour = "blue"'))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.await_word("the configuration is not reloaded, the old one stays")
        assert any("store.colour: Extra inputs" in line.get("reason", "") for line in daemon.log)
        first = create(agent)
        platform.send(first)
        assert platform.await_end(id_of(first))["type"] == "backup.completed"

        agent.config_file.write_text(good.replace("[store]", '[store]\ncontainer = "elsewhere"'))
        with notes_are_written(shop) as release:
            during = create(agent)
            platform.send(during)
            until(lambda: "blocking" in _phases(platform, id_of(during)), "the locks")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.await_word("the configuration is reloaded; a running backup goes on with the old one")
            release()
            assert "z_CLOUDDB_BACKUPS" in platform.await_end(id_of(during))["data"]["locationRef"]
        after = create(agent)
        platform.send(after)
        assert "/elsewhere/" in platform.await_end(id_of(after))["data"]["locationRef"]

        agent.config_file.write_text(good.replace(agent.instance_id, "61f12fef-edb1-4561-8122-e7c00ef26a82"))
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: any("instance.id can't" in line.get("reason", "") for line in daemon.log), "a refusal")


def test_without_a_broker_the_daemon_says_what_is_missing(agent: ConfinedAgent) -> None:
    agent.with_config('"amqp://', '"http://')
    outcome = agent.run("run")
    assert (outcome.status, outcome.error["code"]) == (3, "config_invalid")
    agent.config_file.write_text(agent.config_file.read_text().replace("urls = [", "#"))
    outcome = agent.run("run")
    assert (outcome.status, outcome.error["code"]) == (3, "config_invalid")
    assert "broker.urls is empty" in outcome.error["event"]


def scraped(port: int) -> str:
    content: bytes = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read()
    return content.decode()


def test_prometheus_is_told_by_the_daemon_and_by_run_once(
    tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    file, port = tmp_path / "backup-agent.prom", free_port()
    extra = {"metrics": {"port": port, "textfile": str(file)}}
    agent = daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url], extra=extra)
    agent.backup()
    labels = f'{{instance_id="{agent.instance_id}"}}'
    assert (
        f'backup_agent_backups_total{{instance_id="{agent.instance_id}",outcome="completed"}} 1.0' in file.read_text()
    )
    message = create(agent)
    with Platform(shared_rabbitmq, agent) as platform, at_work(agent, platform):
        with notes_are_written(shop) as release:
            platform.send(message)
            until(lambda: "blocking" in _phases(platform, id_of(message)), "the locks")
            blocking = f'backup_agent_running{{instance_id="{agent.instance_id}",phase="blocking"}} 1.0'
            until(lambda: blocking in scraped(port), "the same in the metrics, which are told after the platform")
            assert f"backup_agent_broker_connected{labels} 1.0" in scraped(port)
            release()
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
        until(lambda: 'outcome="completed"} 2.0' in file.read_text(), "the second backup in the file")

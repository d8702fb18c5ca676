"""`backup.verify` of a platform: carried out beside backups, and told of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import FAST, Platform, at_work, command, create
from tests.e2e.verifiable import BROKEN, Verifiable, results, verifiable, wrapper
from tests.faults.agents import ConfinedAgent
from tests.faults.test_daemon import id_of
from tests.faults.waiting import until
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifiable]:
    with verifiable(tmp_path_factory.mktemp("verifiable")) as made:
        yield made


@pytest.fixture
def agent(made: Verifiable, tmp_path: Path, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    broker = {"urls": [shared_rabbitmq.url], "user": USER, "password": PASSWORD, **FAST}
    server = wrapper(made.scratch / f"server-of-{tmp_path.name}", [])
    return made.copy(tmp_path / "agent", {"broker": broker, "verify": {"server_binary": str(server)}})


@pytest.fixture
def platform(agent: ConfinedAgent, rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(rabbitmq, agent) as platform:
        yield platform


def verify(backup_id: str, level: str) -> dict[str, Any]:
    return command("backup.verify", {"backup_id": backup_id, "level": level})


def test_what_was_found_is_told_with_its_figures(agent: ConfinedAgent, platform: Platform, made: Verifiable) -> None:
    with at_work(agent, platform) as daemon:
        platform.send(verify(made.good, "digest"), verify(made.broken, "restore"))
        good = platform.await_event(made.good, "backup.verified")["data"]
        bad = platform.await_event(made.broken, "backup.verified")["data"]
        assert daemon.stop().status == 0
    found = good["verification"]
    assert (found["result"], found["level"], good["error"], good["status"]) == ("passed", "digest", None, "COMPLETED")
    assert (good["verified_at"], good["name"]) == (found["time"][:19], "taken in process")
    assert found["raw_bytes"] > found["stored_bytes"] > 0
    assert (bad["verification"]["result"], bad["error"]["code"]) == ("failed", "verification_failed")
    assert (bad["status"], bad["verified_at"]) == ("COMPLETED", None)
    assert all(name in str(bad["verification"]["faults"]) for name in BROKEN)
    assert [len(results(agent, one)) for one in (made.good, made.broken)] == [1, 1]


def test_who_watches_over_the_host_sees_the_last_verifications_whoever_asked_for_them(
    agent: ConfinedAgent, platform: Platform, made: Verifiable, tmp_path: Path
) -> None:
    file = tmp_path / "backup-agent.prom"
    agent.with_config("[broker]", f'[metrics]\ntextfile = "{file}"\n\n[broker]')
    with at_work(agent, platform) as daemon:
        platform.send(verify(made.good, "restore"), verify(made.broken, "restore"))
        good = platform.await_event(made.good, "backup.verified")["data"]["verification"]
        platform.await_event(made.broken, "backup.verified")
        assert daemon.stop().status == 0
    assert set(verified(file)) == {("restore", "passed"), ("restore", "failed")}
    assert f" {good['seconds']['to_serve']}\n" in file.read_text()

    assert agent.run("verify", made.full).status == 0
    assert set(verified(file)) == {("restore", "passed"), ("restore", "failed"), ("digest", "passed")}
    assert max(verified(file).values()) == verified(file)["digest", "passed"]
    told = agent.run("status", "--json").json["status"]["verifications"]
    assert [(one["backup_id"], one["level"], one["result"]) for one in told] == [
        (made.full, "digest", "passed"),
        (made.broken, "restore", "failed"),
        (made.good, "restore", "passed"),
    ]
    assert re.search(rf"last verified +\S+ {made.full} digest passed\n", agent.run("status").stdout)


def verified(file: Path) -> dict[tuple[str, str], float]:
    """When verifications of that level ended last with that result, by the metrics."""
    line = re.compile(r'backup_agent_last_verified_timestamp_seconds\{.*level="(\w+)",result="(\w+)"\} (\S+)')
    return {(level, result): float(value) for level, result, value in line.findall(file.read_text())}


def test_what_can_not_be_verified_is_told_with_the_reason(agent: ConfinedAgent, platform: Platform) -> None:
    unknown = "61f12fef-edb1-4561-8122-e7c00ef26a82"
    with at_work(agent, platform):
        platform.send(verify(unknown, "restore"))
        data = platform.await_event(unknown, "backup.verified")["data"]
    assert (data["verification"], data["error"]["code"], data["error"]["status"]) == (None, "backup_not_found", 404)


def test_backups_are_taken_beside_a_long_verification_and_a_stop_lets_it_begin_anew(
    agent: ConfinedAgent, platform: Platform, made: Verifiable, tmp_path: Path
) -> None:
    reached = made.scratch / "reached"
    reached.mkdir()
    reached.chmod(0o777)
    server = made.scratch / f"server-of-{tmp_path.name}"
    wrapper(server, [f"touch {reached}/it"], otherwise="exec sleep 600")
    message = create(agent)
    with at_work(agent, platform) as daemon:
        platform.send(verify(made.good, "restore"))
        until((reached / "it").exists, "the private server")
        platform.send(message)
        assert platform.await_end(id_of(message))["type"] == "backup.completed"
        assert daemon.stop().status == 0
    assert platform.events(made.good) == []
    wrapper(server, [])
    with at_work(agent, platform):
        data = platform.await_event(made.good, "backup.verified")["data"]
    assert data["verification"]["result"] == "passed"

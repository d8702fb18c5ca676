"""kill -9 at every step of an operation on the instance: the next start does the rest, and answers once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.administered import administered_agent, answer, answers, ask, create_administrator, do, fresh, names, users
from tests.daemon import Daemon, Platform
from tests.faults.agents import ConfinedAgent
from tests.faults.killpoint import OPERATING
from tests.faults.waiting import until
from tests.servers.keeper import Keeper
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

LAUNCHER = str(Path(__file__).with_name("killpoint.py"))
STEPS = ["a command came, and is not journaled", "journaled, not acknowledged", *OPERATING]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("operated")) as server:
        create_administrator(server)
        yield server


@pytest.fixture
def agent(tmp_path: Path, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    return administered_agent(tmp_path / "agent", server, shared_rabbitmq.url)


@pytest.fixture
def platform(agent: ConfinedAgent, shared_rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(shared_rabbitmq, agent) as platform:
        yield platform


def killed_at(point: str, agent: ConfinedAgent, platform: Platform, mark: Path, message: dict[str, Any]) -> None:
    with Daemon(agent, prefix=[LAUNCHER, point, str(mark)]) as first:
        platform.await_queue()
        platform.send(message)
        assert first.end().status == -9, first.text


def answered_after(agent: ConfinedAgent, platform: Platform, message: dict[str, Any]) -> dict[str, Any]:
    """By the next start; and by no other answer."""
    with Daemon(agent) as second:
        data = answer(platform, message)
        second.await_ready()
        assert second.stop().status == 0
    assert len({str(one) for one in answers(platform, message)}) == 1
    return data


@pytest.mark.parametrize("point", STEPS)
def test_killed_at_each_step_databases_are_made_once_and_that_is_told_once(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    one, two = fresh("one"), fresh("two")
    before = names(server)
    message = ask(agent, "create_databases", databases=[{"name": one}, {"name": two}])
    killed_at(point, agent, platform, tmp_path / "killed", message)
    assert answered_after(agent, platform, message)["status"] == "DONE"
    assert names(server) == before | {one, two}


@pytest.mark.parametrize("point", ["begun, and nothing is done", "all is done, and not noted"])
def test_killed_a_user_is_made_once_with_the_password_and_a_deletion_is_one(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    user = fresh("user")
    message = ask(agent, "create_users", users=[{"name": user, "password": "a Passw0rd"}])
    killed_at(point, agent, platform, tmp_path / "killed", message)
    assert answered_after(agent, platform, message)["status"] == "DONE"
    server.connect(user, "a Passw0rd").close()
    deletion = ask(agent, "delete_user", name=user)
    killed_at(point, agent, platform, tmp_path / "killed again", deletion)
    assert answered_after(agent, platform, deletion)["status"] == "DONE"
    assert (user, "%") not in users(server)


def uptime(server: PrivateMariaDB) -> int:
    return int(server.query("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])


@pytest.mark.parametrize("point", ["begun, and nothing is done", "all is done, and not noted"])
def test_killed_a_restart_is_seen_to_have_been_one_and_is_not_made_twice(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, tmp_path: Path, point: str
) -> None:
    message = ask(agent, "restart")
    until(lambda: uptime(server) > 0, "another second: a restart is told by when the server was started")
    with Keeper(server, agent.runtime_dir) as keeper:
        killed_at(point, agent, platform, tmp_path / "killed", message)
        assert answered_after(agent, platform, message)["status"] == "DONE"
        assert keeper.done == ["restart"]
        server.stop()
    server.start()


def test_one_that_kills_the_agent_again_and_again_is_given_up_and_that_is_told(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, tmp_path: Path
) -> None:
    name = fresh("deadly")
    agent.with_config("[journal]", "[service]\nmax_attempts = 2\n[journal]")
    message = ask(agent, "create_databases", databases=[{"name": name}])
    killed_at("one of two is done", agent, platform, tmp_path / "first", message)
    with Daemon(agent, prefix=[LAUNCHER, "one of two is done", str(tmp_path / "second")]) as second:
        assert second.end().status == -9, second.text
    data = answered_after(agent, platform, message)
    assert (data["status"], data["error"]["code"], data["error"]["status"]) == ("FAILED", "interrupted", None)
    with Daemon(agent) as daemon:
        daemon.await_ready()
        platform.await_queue()
        assert name in names(server)
        assert do(platform, agent, "delete_database", name=name)["status"] == "DONE"

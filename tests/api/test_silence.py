"""Agents of which nothing is heard, and a broker that is away. The bounds are seconds, where they are minutes else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Table, select, update

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.tables import backups, operations
from tests.api.fleet import Agent, new_id
from tests.api.service import Api, Sections, User, get
from tests.api.test_requests import fault
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.server
SILENT_S = 8
"""Longer than anything takes that must not be taken for silence, also on a busy host."""
IMPATIENT = {"silent_after_s": SILENT_S, "start_within_s": 1, "broker_away_s": 8}
UNWAITED = {"change_wait_s": 0, "begin_within_s": 1}
SOON = {"reconnect_max_s": 0.2}


@pytest.fixture(scope="module")
def line(broker: PrivateRabbitMQ) -> Iterator[TcpProxy]:
    """Between the API and its broker; agents have their own."""
    with TcpProxy(broker.port) as line:
        yield line


@pytest.fixture(scope="module")
def api(line: TcpProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    base = tmp_path_factory.mktemp("api")
    extra: Sections = {"agents": IMPATIENT, "broker": SOON, "operations": UNWAITED}
    with Api(base, f"amqp://127.0.0.1:{line.port}", extra=extra) as api:
        yield api


def seconds_pass(api: Api, table: Table, row: str, *columns: str) -> None:
    """All but two of those after which it is given up, in an instant."""
    found = [table.c[name] for name in columns]

    def age(connection: Connection) -> None:
        times = connection.execute(select(*found).where(table.c.id == row)).one()
        past = {name: moment - timedelta(seconds=SILENT_S - 2) for name, moment in zip(columns, times, strict=True)}
        connection.execute(update(table).where(table.c.id == row).values(past))

    with closing(Database(api.database_url)) as database:
        database.write(age)


def lost(api: Api, user: User, backup_id: str, status: str = "FAILED") -> dict[str, Any]:
    """Waits until it was given up."""
    seconds_pass(api, backups, backup_id, "created", "heard")
    shown = user.await_status(backup_id, status)
    assert shown is not None
    assert shown["error"]["code"] == "agent_lost"
    assert shown["error"]["hint"]
    return shown


@contextmanager
def at_work(agent: Agent, backup_id: str) -> Iterator[None]:
    """It says so, as long as the context lasts, more often than it would be given up however slow the host is."""
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(0.1):
            agent.heartbeat(job=backup_id)

    thread = threading.Thread(target=say, name="heartbeats")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_running_backup_of_a_silent_agent_is_failed_until_the_agent_is_back(
    api: Api, user: User, agent: Agent
) -> None:
    backup = user.created(agent.instance_id)
    with at_work(agent, backup["id"]):
        agent.tell("started", backup, "BUILDING")
        user.await_status(backup["id"], "BUILDING")
    lost(api, user, backup["id"])
    assert user.http.get(f"/instances/{agent.instance_id}").json()["instance"]["status"] == "ACTIVE"
    with at_work(agent, backup["id"]):
        agent.tell("progress", backup, "BUILDING", percent=70)
        until(lambda: (user.backup(backup["id"]) or {})["progress"] == 70, "the progress")
        back = user.backup(backup["id"])
        assert back is not None
        assert (back["error"], back["status"]) == (None, "BUILDING")
        assert fault(user.create(agent.instance_id)) == (422, "unprocessableEntity")
    lost(api, user, backup["id"])
    agent.completed(backup)
    user.await_status(backup["id"], "COMPLETED")


def test_an_agent_that_says_what_it_works_on_is_not_silent(
    api: Api, user: User, agent: Agent, broker: PrivateRabbitMQ
) -> None:
    silent = Agent(broker, api.add_instance())
    backup, other = user.created(agent.instance_id), user.created(silent.instance_id)
    agent.tell("started", backup, "BUILDING")
    silent.tell("started", other, "BUILDING")

    def given_up() -> bool:
        silent.heartbeat(job=None)  # it is there, and has forgotten the backup
        return user.status(other["id"]) == "FAILED"

    with at_work(agent, backup["id"]):
        user.await_status(backup["id"], "BUILDING")
        user.await_status(other["id"], "BUILDING")
        seconds_pass(api, backups, other["id"], "heard")
        until(given_up, "the other one is given up")
        assert user.status(backup["id"]) == "BUILDING"
    agent.completed(backup)
    user.await_status(backup["id"], "COMPLETED")


def test_a_command_that_nobody_takes_is_given_up_and_its_backup_can_be_deleted_at_once(
    api: Api, user: User, agent: Agent
) -> None:
    backup = user.created(agent.instance_id)
    (create,) = agent.await_commands(1)  # it was sent, and is not begun
    shown = lost(api, user, backup["id"])
    assert shown["error"]["message"] == "its agent has not begun it in time"
    assert user.http.delete(f"/backups/{backup['id']}").status_code == 202
    assert user.backup(backup["id"]) is None
    (delete,) = agent.await_commands(1)  # should it come back after all
    assert (create["type"], delete["type"]) == ("backup.create", "backup.delete")
    assert create["expires"] < f"{shown['updated']}Z"


def test_a_deletion_that_nobody_carries_out_fails_and_succeeds_when_the_agent_is_back(
    api: Api, user: User, agent: Agent
) -> None:
    backup_id = new_id()
    agent.completed(backup_id)
    user.await_status(backup_id, "COMPLETED")
    user.http.delete(f"/backups/{backup_id}")
    lost(api, user, backup_id, "DELETE_FAILED")
    agent.tell("deleted", backup_id, "DELETED")
    user.await_status(backup_id, None)


def test_an_operation_that_nobody_answers_has_failed_until_the_agent_is_back(
    api: Api, user: User, agent: Agent
) -> None:
    instance = f"/instances/{agent.instance_id}"
    answer = user.http.delete(instance)
    assert answer.status_code == 202
    seconds_pass(api, operations, answer.headers["X-Operation-ID"], "asked")

    def operation() -> dict[str, Any]:
        shown: dict[str, Any] = user.http.get(f"{instance}/operations/{answer.headers['X-Operation-ID']}").json()
        found: dict[str, Any] = shown["operation"]
        return found

    until(lambda: operation()["status"] == "FAILED", "the end of the operation")
    assert operation()["error"]["code"] == "agent_lost"
    assert operation()["finished"]
    assert user.http.get(instance).json()["instance"]["status"] == "ACTIVE"
    agent.answer({"id": operation()["id"], "type": "instance.delete", "data": {"account_id": "1234"}})
    until(lambda: user.http.get(instance).status_code == 404, "the end of the instance")
    assert (operation()["status"], operation()["error"]) == ("DONE", None)


def test_without_a_broker_commands_wait_and_past_a_bound_none_are_taken(
    api: Api, user: User, agent: Agent, line: TcpProxy, broker: PrivateRabbitMQ
) -> None:
    others = [api.add_instance() for _ in range(30)]
    until(api.healthy, "a healthy API")
    line.hold()
    line.cut()
    backup = user.created(agent.instance_id)
    until(lambda: not api.healthy(), "an API that says that its broker is away")
    health = get(f"{api.url}/healthcheck").json()
    assert health == {"healthy": False, "database": "ok", "broker": "away"}
    answers: list[httpx.Response] = []

    def refused() -> bool:
        answers.append(user.create(others.pop()) if others else user.create(agent.instance_id))
        return answers[-1].status_code == 503

    until(refused, "a refusal")
    assert fault(answers[-1]) == (503, "serviceUnavailable")
    assert user.status(backup["id"]) in ("NEW", "FAILED")
    assert user.http.get("/backups").status_code == 200
    line.release()
    line.cut()
    until(api.healthy, "a healthy API")
    late = Agent(broker, api.add_instance())
    user.created(late.instance_id)
    assert len(late.await_commands(1)) == 1

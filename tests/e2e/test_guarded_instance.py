"""The instance under guard: nothing adds, drops, stops or deletes while it is backed up, by the API or past it.

Everything is real: Trove's client, the API, the broker, the agent and its MariaDB.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
import pytest
from keystoneauth1 import session, token_endpoint
from pika.adapters.blocking_connection import BlockingChannel
from troveclient.apiclient import exceptions

from backup_agent.broker.topology import EVENTS
from tests.administered import administered_agent, create_administrator, names, refusal, users
from tests.agent import ACCOUNT
from tests.api.service import Api, User
from tests.api.test_operations import every_request
from tests.api.test_requests import fault, message
from tests.daemon import Daemon, Platform
from tests.e2e.test_instance_operations import every_operation
from tests.faults.agents import ConfinedAgent
from tests.faults.conftest import CREATE_SHOP
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.keeper import Keeper
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

PATIENT = {"operations": {"change_wait_s": 60, "list_wait_s": 60}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("guarded")) as server:
        create_agent_user(server)
        create_administrator(server)
        server.execute(
            *CREATE_SHOP,
            "CREATE TABLE shop.pads (id INT) ENGINE=MyISAM",
            "CREATE DATABASE spare",
            "CREATE USER spare",
            "CREATE USER tenant",
        )
        yield server


@pytest.fixture(scope="module")
def keeper(server: PrivateMariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with Keeper(server, tmp_path_factory.mktemp("keeper")) as keeper:
        yield keeper


@pytest.fixture(scope="module")
def api(shared_rabbitmq: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    if not shared_rabbitmq.running:
        shared_rabbitmq.start()
    shared_rabbitmq.forget_topology()
    with Api(tmp_path_factory.mktemp("api"), shared_rabbitmq.url, extra=PATIENT) as api:
        yield api
        assert [line for line in api.log if line["level"] in ("error", "warning")] == []


@pytest.fixture(scope="module")
def user(api: Api) -> Iterator[User]:
    user = User(api, api.add_token())
    user.http.timeout = 120
    yield user
    user.http.close()


@pytest.fixture(scope="module")
def agent(
    api: Api,
    server: PrivateMariaDB,
    keeper: Keeper,
    shared_rabbitmq: PrivateRabbitMQ,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ConfinedAgent]:
    """Its daemon runs; the server is restarted and stopped by commands."""
    agent = administered_agent(
        tmp_path_factory.mktemp("agent"),
        server,
        shared_rabbitmq.url,
        extra={"service": {"heartbeat_s": 1}},
        power="command",
        restart_command=keeper.command("restart"),
        stop_command=keeper.command("stop"),
        delete_command=keeper.command("delete"),
    )
    api.add_instance("guarded", instance_id=agent.instance_id)
    with Daemon(agent) as daemon:
        daemon.await_ready()
        Platform(shared_rabbitmq, agent).await_queue()
        yield agent
        assert not daemon.said("internal error")


@pytest.fixture(scope="module")
def trove(api: Api, user: User) -> Any:
    endpoint = token_endpoint.Token(f"{api.url}/v1.0/{ACCOUNT}", user.token)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        from troveclient import client  # noqa: PLC0415 - it warns when it is imported

        return client.Client("1.0", session=session.Session(auth=endpoint))


@contextmanager
def answers_of(broker: PrivateRabbitMQ, agent: ConfinedAgent) -> Iterator[BlockingChannel]:
    """A queue of one's own with what the agent answers, beside the API's."""
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("answers", exclusive=True)
        channel.queue_bind("answers", EVENTS, f"{agent.instance_id}.instance.*")
        yield channel


def await_answers(channel: BlockingChannel, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}

    def all_came() -> bool:
        body = channel.basic_get("answers", auto_ack=True)[2]
        if body is not None:
            data = json.loads(body)["data"]
            told[data["request_id"]] = data
        return all(request["id"] in told for request in requests)

    until(all_came, "the agent's answers")
    return [told[request["id"]] for request in requests]


def insert_waits(server: PrivateMariaDB, table: str) -> bool:
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
        try:
            cursor.execute(f"INSERT INTO {table} () VALUES ()")
        except pymysql.err.OperationalError:
            return True
    return False


@dataclass(frozen=True)
class Guarded:
    """What was seen while a backup ran."""

    backup_id: str
    by_api: list[tuple[tuple[int, str], str]]
    """Fault and words."""
    past_it: list[dict[str, Any]]
    """The agent's own answers."""
    before: tuple[set[str], set[tuple[str, str]], int]
    after: tuple[set[str], set[tuple[str, str]], int]
    innodb_waited: bool


@pytest.fixture(scope="module")
def guarded(
    user: User, agent: ConfinedAgent, server: PrivateMariaDB, keeper: Keeper, shared_rabbitmq: PrivateRabbitMQ
) -> Guarded:
    before = names(server), users(server), server.pid
    with answers_of(shared_rabbitmq, agent) as channel, notes_are_written(server) as release:
        backup = user.created(agent.instance_id)
        until(lambda: insert_waits(server, "shop.pads"), "the lock on the MyISAM tables")
        innodb_waited = insert_waits(server, "shop.orders")
        refused = [request() for request in every_request(user, agent.instance_id, old="spare")]
        messages = every_operation(agent, "new")
        Platform(shared_rabbitmq, agent).send(*messages)
        past_it = await_answers(channel, messages)
        assert insert_waits(server, "shop.pads"), "the lock was held all the time"
        release()
    user.await_status(backup["id"], "COMPLETED")
    assert keeper.done == []
    return Guarded(
        backup["id"],
        [(fault(answer), message(answer)) for answer in refused],
        past_it,
        before,
        (names(server), users(server), server.pid),
        innodb_waited,
    )


def test_during_a_backup_every_operation_is_refused_by_the_api(guarded: Guarded, agent: ConfinedAgent) -> None:
    busy = (
        f"Instance {agent.instance_id} is not currently available for an action to be performed "
        "(instance status was BACKUP)."
    )
    assert guarded.by_api == [((422, "unprocessableEntity"), busy)] * 10


def test_and_past_the_api_by_the_agent_with_the_backups_id(guarded: Guarded) -> None:
    assert [refusal(told) for told in guarded.past_it] == [("REJECTED", "instance_busy", 422)] * 9
    assert {told["backup_id"] for told in guarded.past_it} == {guarded.backup_id}


def test_and_none_of_them_happened_while_innodb_was_written_to(guarded: Guarded) -> None:
    assert guarded.after == guarded.before
    assert not guarded.innodb_waited


def test_a_backup_that_is_asked_for_during_an_operation_waits_for_its_end(
    guarded: Guarded, user: User, agent: ConfinedAgent, keeper: Keeper
) -> None:
    del guarded
    keeper.idle.clear()
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(user.http.post, f"/instances/{agent.instance_id}/action", json={"restart": {}})
        until(keeper.waiting, "the restart")
        backup = user.created(agent.instance_id)
        assert user.status(backup["id"]) == "NEW"
        keeper.idle.set()
        assert restart.result().status_code == 202
    user.await_status(backup["id"], "COMPLETED")


def test_after_it_all_of_them_work_and_a_deleted_instance_leaves_its_backups(
    guarded: Guarded, trove: Any, user: User, agent: ConfinedAgent, server: PrivateMariaDB, keeper: Keeper
) -> None:
    instance = agent.instance_id
    keeper.done.clear()
    trove.databases.create(instance, [{"name": "new", "character_set": "latin1"}])
    trove.users.create(instance, [{"name": "new", "password": "a new secret", "databases": [{"name": "new"}]}])
    trove.databases.delete(instance, "spare")
    trove.users.delete(instance, "spare")
    assert names(server) == guarded.before[0] - {"spare"} | {"new"}
    assert users(server) == guarded.before[1] - {("spare", "%")} | {("new", "%")}
    with closing(server.connect("new", "a new secret")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE new.t (i INT)")
    assert [one.name for one in trove.databases.list(instance)] == ["new", "shop"]
    listed = {one.name: one.databases for one in trove.users.list(instance)}
    assert listed == {"new": [{"name": "new"}], "tenant": []}
    with pytest.raises(exceptions.BadRequest, match="There is a database 'new' already"):
        trove.databases.create(instance, [{"name": "new"}])
    with pytest.raises(exceptions.NotFound, match="There is no user 'spare'@'%'"):
        trove.users.delete(instance, "spare")

    before = server.pid
    trove.instances.restart(instance)
    assert server.pid != before
    assert trove.instances.get(instance).status == "ACTIVE"
    trove.mgmt_instances.stop(instance)
    assert not server.running
    assert trove.instances.get(instance).status == "SHUTDOWN"
    server.start()
    until(lambda: trove.instances.get(instance).status == "ACTIVE", "the agent has seen the server")
    trove.mgmt_instances.stop(instance)
    assert trove.instances.get(instance).status == "SHUTDOWN"
    trove.instances.restart(instance)
    assert trove.instances.get(instance).status == "ACTIVE"
    assert [one.name for one in trove.databases.list(instance)] == ["new", "shop"]
    keeper.idle.clear()
    with ThreadPoolExecutor(1) as pool:
        deletion = pool.submit(trove.instances.delete, instance)
        until(keeper.waiting, "the deletion")
        assert fault(user.create(instance)) == (422, "unprocessableEntity")
        keeper.idle.set()
        deletion.result()
    assert fault(user.create(instance)) == (404, "itemNotFound")
    assert not server.running
    assert keeper.done == ["restart", "stop", "stop", "restart", "delete"]
    with pytest.raises(exceptions.NotFound):
        trove.instances.get(instance)
    assert (server.datadir / "shop").is_dir(), "data are not wiped"
    assert guarded.backup_id in {one.id for one in trove.backups.list(instance_id=instance)}
    assert user.status(guarded.backup_id) == "COMPLETED"

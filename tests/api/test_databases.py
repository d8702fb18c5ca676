"""The same on each database: one backup per instance however many ask at once, a backup's life, and whole pages."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from backup_agent.api.catalogue import migrate
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.holding import lock_account
from backup_agent.api.catalogue.tables import metadata
from tests.api.fleet import Agent, new_id
from tests.api.operated import OperatedAgent
from tests.api.service import Api, User
from tests.api.test_requests import fault
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.postgresql import PrivatePostgreSQL
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server
CONNECTIONS = {
    "postgresql": (
        "SELECT pg_backend_pid()",
        "SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {}",
        "SELECT pg_terminate_backend({})",
    ),
    "mariadb": (
        "SELECT CONNECTION_ID()",
        "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}",
        "KILL {}",
    ),
}
"""Of each database: which connection is this, does it live, end it."""
WAITING = {
    "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mariadb": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
"""How many wait for a lock."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    base = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "sqlite":
            yield f"sqlite:///{base / 'catalogue.db'}"
        case "postgresql":
            with PrivatePostgreSQL() as server:
                yield server.url
        case _:
            with PrivateMariaDB(base) as server:
                server.execute("CREATE DATABASE catalogue CHARACTER SET latin1")
                yield f"mariadb://root@localhost/catalogue?unix_socket={server.socket}"


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    broker.forget_topology()
    unwaited = {"operations": {"change_wait_s": 0, "list_wait_s": 60}}
    api = Api(tmp_path_factory.mktemp("api"), broker.url, database_url=database_url, extra=unwaited)
    assert api.command("db", "upgrade").status == 0
    with api:
        yield api
        assert [line for line in api.log if line["level"] in ("error", "warning")] == []


def test_the_migrations_make_the_tables_that_the_program_uses(api: Api) -> None:
    database = Database(api.database_url)
    migrate.check(database)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_a_connection_that_was_lost_while_it_rested_is_replaced(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_agent.api.catalogue.database._REST_S", 0.0)
    with closing(Database(database_url)) as database, closing(Database(database_url)) as other:
        if database.engine.dialect.name not in CONNECTIONS:
            return  # a file's connections are not lost
        own, alive, kill = CONNECTIONS[database.engine.dialect.name]
        with database.reading() as connection:
            number = connection.execute(text(own)).scalar_one()

        def lives() -> bool:
            with other.reading() as connection:
                return bool(connection.execute(text(alive.format(number))).scalar_one())

        assert lives()
        other.write(lambda connection: connection.execute(text(kill.format(number))))
        until(lambda: not lives(), "the end of the connection")
        with database.reading() as connection:
            assert connection.execute(text(own)).scalar_one() != number


def test_of_200_who_ask_at_once_for_one_instance_one_gets_a_backup(api: Api, user: User, agent: Agent) -> None:
    together = threading.Barrier(50)
    waves = 4

    def ask(_: int) -> int:
        together.wait()
        with httpx.Client(headers={"X-Auth-Token": user.token}, timeout=120) as http:
            answer = http.post(
                f"{api.url}/v1.0/1234/backups", json={"backup": {"name": "race", "instance": agent.instance_id}}
            )
        return answer.status_code

    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(ask, range(50 * waves)))
    assert answers == {202: 1, 422: 199}
    assert len(user.http.get(f"/instances/{agent.instance_id}/backups").json()["backups"]) == 1
    assert len(agent.await_commands(1)) == 1


def test_of_backups_and_operations_asked_at_once_the_later_ones_know_the_earlier(
    api: Api, user: User, agent: Agent
) -> None:
    together = threading.Barrier(24)
    url = f"{api.url}/v1.0/1234"

    def ask(number: int) -> int:
        together.wait()
        with httpx.Client(headers={"X-Auth-Token": user.token}, timeout=120) as http:
            if number % 4 == 0:
                backup = {"name": "race", "instance": agent.instance_id}
                return http.post(f"{url}/backups", json={"backup": backup}).status_code
            databases = {"databases": [{"name": f"race_{number}"}]}
            return http.post(f"{url}/instances/{agent.instance_id}/databases", json=databases).status_code

    with ThreadPoolExecutor(24) as pool:
        answers = Counter(pool.map(ask, range(24)))
    assert answers.keys() == {202, 422}
    sent = [command["type"] for command in agent.await_commands(answers[202])]
    assert sent == [*["instance.create_databases"] * (answers[202] - 1), "backup.create"]


def shown_status(user: User, instance: str) -> str:
    return str(user.http.get(f"/instances/{instance}").json()["instance"]["status"])


def test_of_a_backup_and_a_deletion_asked_at_once_one_is_refused(api: Api, user: User) -> None:
    instances = [api.add_instance() for _ in range(12)]
    together = threading.Barrier(2 * len(instances))

    def ask(number: int) -> int:
        instance = instances[number // 2]
        together.wait()
        with httpx.Client(base_url=user.http.base_url, headers={"X-Auth-Token": user.token}, timeout=120) as http:
            if number % 2:
                return http.delete(f"/instances/{instance}").status_code
            return http.post("/backups", json={"backup": {"name": "race", "instance": instance}}).status_code

    with ThreadPoolExecutor(2 * len(instances)) as pool:
        answers = list(pool.map(ask, range(2 * len(instances))))
    for instance, *pair in zip(instances, answers[::2], answers[1::2], strict=True):
        assert sorted(pair) == [202, 422]
        backups = user.http.get(f"/instances/{instance}/backups").json()["backups"]
        assert (len(backups), shown_status(user, instance)) == ((1, "BACKUP") if pair[0] == 202 else (0, "SHUTDOWN"))


def test_a_deletion_that_is_done_while_a_backup_waits_for_its_turn_is_seen_by_it(
    api: Api, user: User, agent: Agent
) -> None:
    with closing(Database(api.database_url)) as database, closing(Database(api.database_url)) as other:
        if database.engine.dialect.name not in WAITING:
            return  # a file has one writer at a time, from its first look on
        user.http.delete(f"/instances/{agent.instance_id}")
        (command,) = agent.await_commands(1)

        def waiting() -> bool:
            with other.reading() as connection:
                return bool(connection.execute(text(WAITING[other.engine.dialect.name])).scalar_one())

        def work(connection: Connection) -> Future[httpx.Response]:
            lock_account(connection, user.account)
            asked = pool.submit(user.create, agent.instance_id)
            until(waiting, "a backup that waits for the account")
            agent.answer(command)
            until(
                lambda: user.http.get(f"/instances/{agent.instance_id}").status_code == 404, "the end of the instance"
            )
            return asked

        with ThreadPoolExecutor(1) as pool:
            answer = database.write(work).result()
    assert fault(answer) == (404, "itemNotFound")


def test_an_operation_is_answered(user: User, broker: PrivateRabbitMQ, instance: str) -> None:
    with OperatedAgent(broker, instance) as agent:
        names = [f"{number:02} {'日本' * 20}" for number in range(99)]
        made = user.http.post(f"/instances/{instance}/databases", json={"databases": [{"name": one} for one in names]})
        assert made.status_code == 202
        until(lambda: len(agent.databases) == len(names), "the databases")
        listed = user.http.get(f"/instances/{instance}/databases", params={"limit": 100}).json()["databases"]
        assert [one["name"] for one in listed] == names
        user.http.post(f"/instances/{instance}/action", json={"stop": {}})
        until(lambda: shown_status(user, instance) == "SHUTDOWN", "the stop")
        agent.heartbeat(server_running=False)
        agent.heartbeat(server_running=True)
        until(lambda: shown_status(user, instance) == "ACTIVE", "the server")
        deleted = user.http.delete(f"/instances/{instance}")
        until(lambda: user.http.get(f"/instances/{instance}").status_code == 404, "the end of the instance")
        shown = user.http.get(f"/instances/{instance}/operations/{deleted.headers['X-Operation-ID']}").json()
        assert shown["operation"]["status"] == "DONE"


def test_a_backup_lives_and_ends(user: User, agent: Agent) -> None:
    name = "Grüße 🎉 'quoted\" \\ %s"
    backup = user.created(agent.instance_id, name, description=name)
    agent.await_commands(1)
    agent.complete(backup)
    agent.heartbeat(job=backup["id"])
    shown = user.await_status(backup["id"], "COMPLETED")
    assert shown is not None
    assert (shown["name"], shown["description"], shown["size"]) == (name, name, 0.014)
    child = user.created(agent.instance_id, "child", incremental=1)
    agent.await_commands(1)
    agent.fail(child)
    user.await_status(child["id"], "FAILED")
    assert user.http.delete(f"/backups/{backup['id']}").status_code == 202
    assert [one["data"]["backup_id"] for one in agent.await_commands(2)] == [child["id"], backup["id"]]
    for one in (child, backup):
        agent.tell("deleted", one, "DELETED")
    user.await_status(backup["id"], None)


def test_pages_are_whole(user: User, agent: Agent) -> None:
    ids = [new_id() for _ in range(7)]
    for backup_id in ids:
        agent.completed({"id": backup_id, "name": "same moment", "created": "2026-01-01T00:00:00"})
    user.await_status(ids[-1], "COMPLETED")
    path = f"/instances/{agent.instance_id}/backups"
    page = user.http.get(path, params={"limit": 3}).json()
    seen = page["backups"]
    while "links" in page:
        page = user.http.get(path + "?" + page["links"][0]["href"].split("?", 1)[1]).json()
        seen += page["backups"]
    assert [backup["id"] for backup in seen] == sorted(ids, reverse=True)


def test_a_batch_in_which_one_backup_ends_and_another_of_the_instance_begins(user: User, agent: Agent) -> None:
    first, second = new_id(), new_id()
    agent.tell("started", first, "BUILDING")
    user.await_status(first, "BUILDING")
    for _ in range(3):
        agent.tell("progress", first, "BUILDING", percent=50)
    agent.fail(first)
    agent.tell("started", second, "BUILDING")
    user.await_status(second, "BUILDING")
    assert fault(user.create(agent.instance_id)) == (422, "unprocessableEntity")
    agent.completed(second)
    until(lambda: user.create(agent.instance_id).status_code == 202, "the instance is free")

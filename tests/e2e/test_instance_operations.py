"""Operations on the instance, asked by message: done and answered; refused as long as a backup runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.administered import (
    administered_agent,
    answer,
    answers,
    ask,
    create_administrator,
    do,
    fresh,
    names,
    refusal,
    users,
)
from tests.daemon import Daemon, Platform, create
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.conftest import CREATE_SHOP
from tests.faults.stalls import notes_are_written
from tests.faults.test_daemon import id_of
from tests.faults.waiting import until
from tests.servers.keeper import Keeper
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

CREDENTIALS = {"password": "first Passw0rd"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("operated")) as server:
        create_agent_user(server)
        create_administrator(server)
        server.execute(*CREATE_SHOP)
        yield server


@pytest.fixture(scope="module")
def agent(
    tmp_path_factory: pytest.TempPathFactory, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> ConfinedAgent:
    return administered_agent(tmp_path_factory.mktemp("agent"), server, shared_rabbitmq.url)


@pytest.fixture(scope="module")
def keeper(agent: ConfinedAgent, server: PrivateMariaDB) -> Iterator[Keeper]:
    with Keeper(server, agent.runtime_dir) as keeper:
        yield keeper


@pytest.fixture(scope="module")
def platform(agent: ConfinedAgent, shared_rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(shared_rabbitmq, agent) as platform:
        yield platform


@pytest.fixture(scope="module", autouse=True)
def daemon(agent: ConfinedAgent, platform: Platform, keeper: Keeper) -> Iterator[Daemon]:
    del keeper
    with Daemon(agent) as daemon:
        daemon.await_ready()
        platform.await_queue()
        yield daemon
        assert not daemon.said("internal error")
        assert daemon.stop().status == 0


def test_databases_are_made_listed_page_by_page_and_deleted(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB
) -> None:
    before = names(server)
    one, two, three = (fresh(f"{letter}_page") for letter in "abc")
    databases = [{"name": one, "character_set": "utf8", "collate": "utf8_general_ci"}, {"name": two}, {"name": three}]
    made = do(platform, agent, "create_databases", databases=databases)
    assert (made["status"], made["command"], made["error"]) == ("DONE", "instance.create_databases", None)
    assert made["result"] == {"databases": [{"name": name} for name in (one, two, three)]}
    assert names(server) == before | {one, two, three}

    first = do(platform, agent, "list_databases", limit=2)["result"]
    assert first["databases"][0] == {"name": one, "character_set": "utf8mb3", "collate": "utf8mb3_general_ci"}
    assert ([each["name"] for each in first["databases"]], first["next_marker"]) == ([one, two], two)
    rest = do(platform, agent, "list_databases", marker=two)["result"]
    assert ([each["name"] for each in rest["databases"]], rest["next_marker"]) == ([three, "shop"], None)

    for name in (one, two, three):
        assert do(platform, agent, "delete_database", name=name)["status"] == "DONE"
    assert names(server) == before


def test_a_user_may_do_all_in_its_databases_and_nothing_in_those_with_like_names(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB
) -> None:
    user = fresh("reader")
    do(platform, agent, "create_databases", databases=[{"name": "like_this"}, {"name": "likexthis"}])
    asked = [{"name": user, "databases": [{"name": "like_this"}], **CREDENTIALS}]
    made = do(platform, agent, "create_users", users=asked)
    assert made["result"] == {"users": [{"name": user, "host": "%"}]}
    with closing(server.connect(user, CREDENTIALS["password"])) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE like_this.t (i INT)")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("CREATE TABLE likexthis.t (i INT)")
    listed = do(platform, agent, "list_users")["result"]
    assert listed == {
        "users": [{"name": user, "host": "%", "databases": [{"name": "like_this"}]}],
        "next_marker": None,
    }
    assert do(platform, agent, "delete_user", name=user)["status"] == "DONE"
    assert user not in {name for name, _ in users(server)}
    for name in ("like_this", "likexthis"):
        do(platform, agent, "delete_database", name=name)


def test_a_command_that_comes_again_hears_its_answer_again_and_another_one_that_it_exists(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB
) -> None:
    name, user = fresh("twice"), fresh("twice")
    message = ask(agent, "create_databases", databases=[{"name": name}])
    platform.send(message, message)
    assert answer(platform, message)["status"] == "DONE"
    platform.send(message)
    until(lambda: len(answers(platform, message)) >= 2, "the answer again")
    assert len({str(one) for one in answers(platform, message)}) == 1
    again = do(platform, agent, "create_databases", databases=[{"name": fresh("other")}, {"name": name}])
    assert refusal(again) == ("REJECTED", "database_exists", 400)
    assert not any(one.startswith("other") for one in names(server)), "all or nothing of what is refused"
    for status in ("DONE", "REJECTED"):
        made = do(platform, agent, "create_users", users=[{"name": user, **CREDENTIALS}])
        assert made["status"] == status
    assert refusal(made) == ("REJECTED", "user_exists", 400)
    do(platform, agent, "delete_user", name=user)
    assert refusal(do(platform, agent, "delete_user", name=user)) == ("REJECTED", "user_not_found", 404)
    do(platform, agent, "delete_database", name=name)
    missing = do(platform, agent, "delete_database", name=name)
    assert refusal(missing) == ("REJECTED", "database_not_found", 404)
    granted = [{"name": user, "databases": [{"name": name}], **CREDENTIALS}]
    assert refusal(do(platform, agent, "create_users", users=granted)) == ("REJECTED", "database_not_found", 404)


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        ("create_databases", {"databases": [{"name": "mysql"}]}),
        ("create_databases", {"databases": [{"name": "x", "character_set": "klingon"}]}),
        ("create_databases", {"databases": [{"name": "x", "character_set": "latin1", "collate": "utf8mb4_bin"}]}),
        ("create_databases", {"databases": [{"name": "x"}, {"name": "x"}]}),
        ("delete_database", {"name": "mysql"}),
        ("create_users", {"users": [{"name": "root", **CREDENTIALS}]}),
        ("create_users", {"users": [{"name": "u", "host": "a b", **CREDENTIALS}]}),
        ("create_users", {"users": [{"name": "u", "password": ""}]}),
        ("create_users", {"users": [{"name": "u", "databases": [{"name": "mysql"}], **CREDENTIALS}]}),
        ("delete_user", {"name": "backup_agent", "host": "localhost"}),
        ("delete_user", {"name": "backup_administrator", "host": "localhost"}),
        ("delete_user", {"name": "mariadb.sys", "host": "localhost"}),
    ],
)
def test_names_that_are_not_the_tenant_s_are_answered_with_400(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, operation: str, data: dict[str, Any]
) -> None:
    before = names(server), users(server)
    assert refusal(do(platform, agent, operation, **data)) == ("REJECTED", "name_refused", 400)
    assert (names(server), users(server)) == before


def test_users_with_powers_are_the_operator_s(agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB) -> None:
    server.execute(
        "CREATE USER dba@localhost",
        "GRANT PROCESS ON *.* TO dba@localhost",
        "CREATE USER spy@localhost",
        "GRANT SELECT ON mysql.* TO spy@localhost",
        "CREATE USER wild@localhost",
        "GRANT SELECT ON `%`.* TO wild@localhost",
    )
    for user in ("dba", "spy", "wild"):
        assert refusal(do(platform, agent, "delete_user", name=user, host="localhost"))[1] == "name_refused"
    assert do(platform, agent, "list_users")["result"]["users"] == []
    server.execute("DROP USER dba@localhost, spy@localhost, wild@localhost")


def every_operation(agent: ConfinedAgent, name: str) -> list[dict[str, Any]]:
    return [
        ask(agent, "create_databases", databases=[{"name": name}]),
        ask(agent, "list_databases"),
        ask(agent, "create_users", users=[{"name": name, "databases": [{"name": "shop"}], **CREDENTIALS}]),
        ask(agent, "list_users"),
        ask(agent, "delete_user", name="tenant"),
        ask(agent, "delete_database", name="spare"),
        ask(agent, "restart"),
        ask(agent, "stop"),
        ask(agent, "delete"),
    ]


def test_while_a_backup_runs_every_operation_is_refused_and_none_is_done_and_afterwards_all_are(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB, keeper: Keeper
) -> None:
    server.execute("CREATE DATABASE spare", "CREATE USER tenant")
    name = fresh("late")
    before = names(server), users(server), server.pid
    backup = create(agent)
    with notes_are_written(server) as release:
        platform.send(backup)
        until(lambda: is_blocking(platform, id_of(backup)), "the lock on the MyISAM tables")
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
            assert cursor.execute("INSERT INTO shop.orders () VALUES ()") == 1
            with pytest.raises(pymysql.err.OperationalError):
                cursor.execute("INSERT INTO shop.notes () VALUES ()")
        refused = every_operation(agent, name)
        platform.send(*refused)
        told = [answer(platform, message) for message in refused]
        assert not [event for event in platform.events(id_of(backup)) if event["type"] == "backup.completed"]
        release()
    assert platform.await_end(id_of(backup))["type"] == "backup.completed"
    assert {refusal(data) for data in told} == {("REJECTED", "instance_busy", 422)}
    assert {data["backup_id"] for data in told} == {id_of(backup)}
    assert all(id_of(backup) in data["error"]["message"] for data in told)
    assert (names(server), users(server), server.pid) == before
    assert keeper.done == []

    for message in every_operation(agent, name)[:-2]:
        platform.send(message)
        assert answer(platform, message)["status"] == "DONE"
    assert names(server) == before[0] - {"spare"} | {name}
    assert users(server) == before[1] - {("tenant", "%")} | {(name, "%")}
    assert keeper.done == ["restart"]


def is_blocking(platform: Platform, backup_id: str) -> bool:
    return any(event["data"]["phase"] == "blocking" for event in platform.events(backup_id, "backup.progress"))


def test_a_backup_of_another_process_is_reason_enough(
    agent: ConfinedAgent, platform: Platform, server: PrivateMariaDB
) -> None:
    name = fresh("beside")
    with notes_are_written(server) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        (started,) = [line for line in running.log if line["event"] == "backup.started"]
        told = do(platform, agent, "create_databases", databases=[{"name": name}])
        release()
        assert running.end().status == 0
    assert refusal(told) == ("REJECTED", "instance_busy", 422)
    assert told["backup_id"] == started["backup_id"]
    assert name not in names(server)


def test_a_backup_that_comes_during_an_operation_waits_for_its_end(
    agent: ConfinedAgent, platform: Platform, keeper: Keeper, daemon: Daemon
) -> None:
    restart, backup = ask(agent, "restart"), create(agent)
    keeper.idle.clear()
    platform.send(restart)
    until(keeper.waiting, "the restart")
    platform.send(backup)
    with Running(agent, "run-once") as running:
        running.await_word("the backup waits for an operation on the instance")
        assert not answers(platform, restart)
        keeper.idle.set()
        assert answer(platform, restart)["status"] == "DONE"
        by_message = platform.await_end(id_of(backup))
        by_hand = running.end()
    ends = {by_message["type"], "backup.completed" if by_hand.status == 0 else by_hand.error["code"]}
    assert "backup.completed" in ends, "one of the two was first"
    assert ends <= {"backup.completed", "backup.rejected", "instance_busy"}
    assert not daemon.said("internal error")


def test_what_was_not_seen_to_happen_is_not_said_to_have_happened(
    tmp_path: Path, platform: Platform, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    with Keeper(server, tmp_path / "requests") as keeper:
        liar = administered_agent(
            tmp_path / "agent",
            server,
            shared_rabbitmq.url,
            power="command",
            power_s=10,
            restart_command=keeper.command("restart"),
            stop_command=["false"],
        )
        keeper.lies = True
        sender = Platform(shared_rabbitmq, liar)  # all events come to the other one
        with Daemon(liar) as daemon:
            daemon.await_ready()
            sender.await_queue()
            asked = [ask(liar, operation) for operation in ("restart", "stop", "delete")]
            sender.send(*asked)
            restarted, stopped, deleted = (answer(platform, message) for message in asked)
            keeper.lies = False
            liar.with_config("power_s = 10", "power_s = 300")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.await_word("the configuration is reloaded; a running backup goes on with the old one")
            honest = ask(liar, "restart")
            sender.send(honest)
            assert answer(platform, honest)["status"] == "DONE"
            assert daemon.stop().status == 0
    assert refusal(restarted) == ("FAILED", "power_failed", None)
    assert "not seen to start again within 10 s" in restarted["error"]["message"]
    assert refusal(stopped) == ("FAILED", "power_failed", None)
    assert "false ended with status 1" in stopped["error"]["message"]
    assert refusal(deleted) == ("REJECTED", "administration_unavailable", 501)


def test_a_server_is_stopped_started_by_a_restart_and_stopped_for_good(
    agent: ConfinedAgent, platform: Platform, keeper: Keeper, server: PrivateMariaDB
) -> None:
    keeper.done.clear()
    assert do(platform, agent, "stop")["status"] == "DONE"
    assert not server.running
    unreachable = do(platform, agent, "list_databases")
    assert refusal(unreachable) == ("FAILED", "database_unreachable", None)
    assert do(platform, agent, "stop")["status"] == "DONE"
    assert do(platform, agent, "restart")["status"] == "DONE"
    assert names(server) >= {"shop"}
    assert do(platform, agent, "delete")["status"] == "DONE"
    assert not server.running
    assert names_in(server.datadir) >= {"shop"}, "data are not wiped"
    assert keeper.done == ["stop", "stop", "restart", "delete"]
    assert do(platform, agent, "restart")["status"] == "DONE"


def names_in(datadir: Path) -> set[str]:
    return {path.name for path in datadir.iterdir()}

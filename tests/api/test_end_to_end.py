"""The whole: the API, a broker, a real agent beside a real MariaDB, and Swift. What a user asks for is restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import checksums
from tests.api.service import Api, User
from tests.daemon import Daemon, daemon_agent
from tests.e2e.judging import serving
from tests.faults.agents import ConfinedAgent
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.swift import PrivateSwift

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        create_agent_user(server)
        server.execute(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(200)) ENGINE=InnoDB",
            "CREATE TABLE shop.notes (id INT PRIMARY KEY, what VARCHAR(200)) ENGINE=MyISAM",
            "INSERT INTO shop.notes VALUES (1, 'a note')",
            "INSERT INTO shop.orders (what) SELECT REPEAT(MD5(RAND()), 6) FROM mysql.seq_1_to_20000",
        )
        yield server


@pytest.fixture(scope="module")
def daemon(
    api: Api, broker: PrivateRabbitMQ, server: PrivateMariaDB, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with PrivateSwift(tmp_path_factory.mktemp("swift")) as swift:
        options = swift.options()
        login = {"auth": options.auth, "auth_url": options.auth_url, "user": options.user, "key": options.key}
        store = {"store": {"swift": login}}
        url = "swift://AUTH_{account_id}"
        agent = daemon_agent(tmp_path_factory.mktemp("agent"), server, [broker.url], extra=store, store_url=url)
        api.add_instance("shop", instance_id=agent.instance_id)
        with Daemon(agent) as daemon:
            yield daemon.await_ready()


@pytest.fixture(scope="module")
def agent(daemon: Daemon) -> ConfinedAgent:
    return daemon.agent


def statuses(user: User, backup_id: str) -> list[str]:
    """Those that a user sees until the backup has ended, each once."""
    seen: list[str] = []

    def ended() -> bool:
        status = user.status(backup_id)
        if status is not None and status not in seen:
            seen.append(status)
        return status in ("COMPLETED", "FAILED")

    until(ended, f"the end of {backup_id}")
    return seen


def test_what_a_user_asks_for_is_made_shown_and_restored(
    user: User, agent: ConfinedAgent, server: PrivateMariaDB, tmp_path: Path
) -> None:
    with notes_are_written(server):  # until that has been seen
        full = user.created(agent.instance_id, "full")
        assert full["status"] == "NEW"
        user.await_status(full["id"], "BUILDING")
    assert statuses(user, full["id"])[-1] == "COMPLETED"
    server.execute("INSERT INTO shop.orders (what) SELECT 'later' FROM mysql.seq_1_to_500")
    before = checksums(server, ["shop"])
    incremental = user.created(agent.instance_id, "more", incremental=1)
    assert statuses(user, incremental["id"])[-1] == "COMPLETED"

    shown = user.backup(incremental["id"])
    assert shown is not None
    assert (shown["parent_id"], shown["progress"], shown["error"]) == (full["id"], 100, None)
    assert shown["size"] is not None
    assert shown["datastore"]["type"] == "mariadb"
    assert shown["locationRef"].startswith("swift://AUTH_1234/z_CLOUDDB_BACKUPS/")
    known = agent.run("show", incremental["id"], "--json").json["backup"]
    assert {key: known[key] for key in ("checksum", "size", "locationRef")} == {
        key: shown[key] for key in ("checksum", "size", "locationRef")
    }
    agent.restore(incremental["id"], tmp_path / "restored")
    with serving(tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


def test_a_backup_by_hand_is_in_the_catalogue(user: User, agent: ConfinedAgent) -> None:
    backup = agent.backup("--name", "by hand")
    shown = user.await_status(backup["id"], "COMPLETED")
    assert shown is not None
    assert (shown["name"], shown["checksum"]) == ("by hand", backup["checksum"])


def test_a_backup_that_fails_says_why_in_the_agents_words(
    user: User, agent: ConfinedAgent, server: PrivateMariaDB
) -> None:
    server.execute("REVOKE RELOAD ON *.* FROM 'backup_agent'@'localhost'")
    try:
        backup = user.created(agent.instance_id, "without a privilege")
        shown = user.await_status(backup["id"], "FAILED")
    finally:
        server.execute("GRANT RELOAD ON *.* TO 'backup_agent'@'localhost'")
    assert shown is not None
    assert shown["error"]["code"] == "grant_missing"
    assert "RELOAD" in shown["error"]["message"] + shown["error"]["hint"]


def test_a_deleted_chain_is_gone_from_the_store_and_from_the_lists(user: User, agent: ConfinedAgent) -> None:
    full = user.created(agent.instance_id, "full")
    assert statuses(user, full["id"])[-1] == "COMPLETED"
    incremental = user.created(agent.instance_id, "more", parent_id=full["id"])
    assert statuses(user, incremental["id"])[-1] == "COMPLETED"
    assert user.http.delete(f"/backups/{full['id']}").status_code == 202
    user.await_status(full["id"], None)
    user.await_status(incremental["id"], None)
    stored = {backup["id"] for backup in agent.run("list", "--json").json["backups"]}
    assert stored
    assert not stored & {full["id"], incremental["id"]}


def test_a_failed_backup_of_which_nothing_is_stored_can_be_deleted(user: User, agent: ConfinedAgent) -> None:
    failed = next(
        backup
        for backup in user.http.get(f"/instances/{agent.instance_id}/backups").json()["backups"]
        if backup["status"] == "FAILED"
    )
    assert user.http.delete(f"/backups/{failed['id']}").status_code == 202
    user.await_status(failed["id"], None)

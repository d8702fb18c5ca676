"""Servers that are down, refuse the agent, hide their files, or go away while they are backed up."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_agent.instance.grants import BACKUP_GRANTS
from tests.faults.agents import ConfinedAgent, Running, without_powers
from tests.faults.conftest import CREATE_SHOP
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import nothing_left_behind
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server


@pytest.fixture
def user(shop: PrivateMariaDB) -> Iterator[str]:
    """The name of a least-privilege user that the test may spoil."""
    name = f"user_{secrets.token_hex(4)}"
    create_agent_user(shop, name)
    yield name
    shop.execute(f"DROP USER {name}@localhost, {name}@127.0.0.1")


def test_a_stopped_server_is_unreachable(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    agent = ConfinedAgent(tmp_path / "agent", mariadb)
    mariadb.stop()
    with nothing_left_behind(agent):
        refused(agent.run("run-once"), "database_unreachable", "instance", f"the socket {mariadb.socket}")
    mariadb.start()
    assert agent.backup()["status"] == "COMPLETED"


def test_a_wrong_password_is_denied_and_not_shown(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, password="not-the-password")
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once")
        refused(outcome, "database_denied", "instance", "refused the user backup_agent", "Access denied")
    assert "not-the-password" not in outcome.stderr
    assert "CREATE USER" in outcome.error["hint"]


@pytest.mark.parametrize("lacking", BACKUP_GRANTS)
def test_each_missing_grant_is_named_before_anything_is_copied(
    tmp_path: Path, shop: PrivateMariaDB, user: str, lacking: str
) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, user=user)
    shop.execute(f"REVOKE {lacking} ON *.* FROM {user}@localhost")
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once")
        refused(outcome, "grant_missing", "instance", lacking)
        assert f"GRANT {lacking} ON *.* TO" in outcome.error["hint"]
        assert not outcome.events("backup.started")
    shop.execute(f"GRANT {lacking} ON *.* TO {user}@localhost")
    assert agent.backup()["status"] == "COMPLETED"


def test_a_replica_needs_one_more_grant(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    mariadb.execute("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody'")
    agent = ConfinedAgent(tmp_path / "agent", mariadb)
    with nothing_left_behind(agent):
        refused(agent.run("run-once"), "grant_missing", "instance", "SLAVE MONITOR")
    mariadb.execute("GRANT SLAVE MONITOR ON *.* TO backup_agent@localhost")
    assert agent.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize("name", ["ibdata1", "shop", ""])
def test_files_that_can_not_be_read_are_named(agent: ConfinedAgent, shop: PrivateMariaDB, name: str) -> None:
    """By a user who reaches the socket and not the files, as one gets with User= and without Group= in a unit."""
    agent.prefix = without_powers()
    path = shop.datadir / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        outcome = agent.run("run-once")
    finally:
        path.chmod(mode)
    with nothing_left_behind(agent, shop):
        refused(outcome, "datadir_unreadable", "instance", f"{path} can't be read: Permission denied")
        assert "Run the agent as the owner of the server's files" in outcome.error["hint"]
    assert agent.stored_files() == []
    assert agent.backup()["status"] == "COMPLETED"


def stop(server: PrivateMariaDB) -> None:
    server.kill()


def restart(server: PrivateMariaDB) -> None:
    server.stop()
    server.start()


@pytest.mark.parametrize("strike", [stop, restart])
def test_a_server_that_goes_away_fails_the_backup(
    tmp_path: Path, mariadb: PrivateMariaDB, strike: Callable[[PrivateMariaDB], None]
) -> None:
    mariadb.execute(*CREATE_SHOP)
    agent = ConfinedAgent(tmp_path / "agent", mariadb)
    with nothing_left_behind(agent), notes_are_written(mariadb), Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(agent.stored_files, "a chunk in the store")
        strike(mariadb)
        outcome = running.end()
        refused(outcome, "engine_failed", "engine", "mariadb-backup ended with status")
    assert [line["error"]["code"] for line in outcome.events("backup.failed")] == ["engine_failed"]
    if not mariadb.running:
        mariadb.start()
    assert agent.backup()["status"] == "COMPLETED"

"""What an incremental must not continue although every identity of the files is the parent's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import Agent, checksums
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server


def fill(server: PrivateMariaDB, rows: int) -> None:
    server.execute(f"INSERT INTO shop.orders (what) SELECT SHA2(seq, 256) FROM mysql.seq_1_to_{rows}")


@pytest.fixture(params=["with a binary log", "without"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrivateMariaDB]:
    extra = ["skip-log-bin"] if request.param == "without" else []
    with PrivateMariaDB(tmp_path / "mariadb", extra_options=extra) as server:
        create_agent_user(server)
        server.execute(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(64), KEY (what)) ENGINE=InnoDB",
        )
        fill(server, 2000)
        yield server


def logs(server: PrivateMariaDB) -> bool:
    return bool(server.query("SELECT @@log_bin")[0][0])


def put_back(server: PrivateMariaDB, saved: Path) -> None:
    """Writes the old content into the very same files, as a snapshot's roll-back does: the inodes stay."""
    server.stop()
    for file in [path for path in saved.rglob("*") if path.is_file()]:
        target = server.datadir / file.relative_to(saved)
        with file.open("rb") as source, target.open("r+b" if target.exists() else "wb") as into:
            shutil.copyfileobj(source, into)
            into.truncate()
    for path in [path for path in server.datadir.rglob("*") if path.is_file()]:
        if not (saved / path.relative_to(server.datadir)).exists():
            path.unlink()
    server.start()


def test_a_data_directory_put_back_in_place_and_written_on_is_noticed(tmp_path: Path, server: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", server)
    server.stop()
    shutil.copytree(server.datadir, tmp_path / "saved")
    server.start()
    fill(server, 500)
    full = agent.backup()
    lsn = agent.run("show", full["id"], "--json").json["backup"]["lsn"]["last_lsn"]
    put_back(server, tmp_path / "saved")
    while int(server.query("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")[0][1]) <= 2 * lsn:
        fill(server, 5000)

    outcome = agent.run("run-once", "--incremental")

    expected = "lineage_changed" if logs(server) else "lineage_unproven"
    assert (outcome.status, outcome.error["code"]) == (4, expected)
    assert [path.split("/")[2] for path in agent.stored_files() if path.endswith("manifest.json")] == [full["id"]]


def test_a_restart_needs_a_binary_log_or_leave(tmp_path: Path, server: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", server)
    agent.backup()
    fill(server, 10)
    agent.backup("--incremental")
    server.stop()
    server.start()

    if not logs(server):
        outcome = agent.run("run-once", "--incremental")
        assert (outcome.status, outcome.error["code"]) == (4, "lineage_unproven")
        assert "instance.allow_unproven_lineage" in outcome.error["hint"]
        agent.environment["BACKUP_AGENT_INSTANCE__ALLOW_UNPROVEN_LINEAGE"] = "true"
    fill(server, 10)
    before = checksums(server, ["shop"])
    last = agent.backup("--incremental")
    server.destroy_data()
    agent.restore(last["id"], tmp_path / "restored")

    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


def test_a_log_that_was_rotated_and_purged_proves_nothing_and_costs_nothing_without_a_restart(
    tmp_path: Path, mariadb: PrivateMariaDB
) -> None:
    agent = Agent(tmp_path / "agent", mariadb)
    agent.backup()
    mariadb.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    agent.backup("--incremental")
    current = mariadb.query("SHOW MASTER STATUS")[0][0]
    mariadb.execute("FLUSH BINARY LOGS", f"PURGE BINARY LOGS TO '{current}'", "FLUSH BINARY LOGS")
    last = mariadb.query("SHOW MASTER STATUS")[0][0]
    mariadb.execute(f"PURGE BINARY LOGS TO '{last}'")

    assert agent.backup("--incremental")["type"] == "incremental"


def test_tables_in_a_data_directory_elsewhere_are_restored_beside_the_others(
    tmp_path: Path, mariadb: PrivateMariaDB
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mariadb.execute(
        "CREATE DATABASE shop",
        f"CREATE TABLE shop.far (id INT PRIMARY KEY, what VARCHAR(64)) ENGINE=InnoDB DATA DIRECTORY='{elsewhere}'",
        "INSERT INTO shop.far SELECT seq, SHA1(seq) FROM mysql.seq_1_to_1000",
    )
    before = checksums(mariadb, ["shop"])
    agent = Agent(tmp_path / "agent", mariadb)
    backup = agent.backup()
    mariadb.execute("UPDATE shop.far SET what = 'changed after the backup'")
    agent.restore(backup["id"], tmp_path / "restored")

    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


@pytest.mark.parametrize(
    "argument", ["--databases=shop", "--tables_exclude=shop.*", "--password=x", "--stream=xbstream"]
)
def test_arguments_that_would_spoil_the_backup_are_refused(
    tmp_path: Path, shared_mariadb: PrivateMariaDB, argument: str
) -> None:
    agent = Agent(tmp_path / "agent", shared_mariadb, extra={"engine": {"extra_args": [argument]}})

    outcome = agent.run("run-once")

    assert (outcome.status, outcome.error["code"]) == (3, "config_invalid")
    assert "engine.extra_args" in outcome.error["event"]


def test_an_included_option_file_that_makes_the_backup_partial_fails_it(
    tmp_path: Path, shared_mariadb: PrivateMariaDB
) -> None:
    include = tmp_path / "my.cnf"
    include.write_text("[mariadb-backup]\ndatabases=mysql\n")
    agent = Agent(tmp_path / "agent", shared_mariadb, extra={"engine": {"include": str(include)}})

    outcome = agent.run("run-once")

    assert (outcome.status, outcome.error["code"]) == (7, "engine_failed")
    assert "partial" in outcome.error["event"]
    assert agent.stored_files() == []

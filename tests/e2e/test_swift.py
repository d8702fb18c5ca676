"""The whole way through Swift, by its own login and by Keystone's, also for longer than a token lives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions
from tests.agent import ACCOUNT, Agent, checksums
from tests.contract.swift_line import LOGIN
from tests.servers.faultproxy import FaultProxy
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.swift import Cloud, PrivateSwift, new_account

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shop(shared_mariadb: PrivateMariaDB) -> Iterator[PrivateMariaDB]:
    """Some MB that can't be compressed, so several chunks of 1 MiB."""
    shared_mariadb.execute(
        "CREATE DATABASE swift_shop",
        "CREATE TABLE swift_shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(500)) ENGINE=InnoDB",
        "CREATE TABLE swift_shop.log (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(500)) ENGINE=MyISAM",
    )
    sell(shared_mariadb)
    yield shared_mariadb
    shared_mariadb.execute("DROP DATABASE swift_shop")


def sell(server: PrivateMariaDB) -> None:
    for table in ("orders", "log"):
        server.execute(f"INSERT INTO swift_shop.{table} (what) SELECT RANDOM_BYTES(400) FROM mysql.seq_1_to_5000")


def agent_on(
    base: Path, server: PrivateMariaDB, options: SwiftOptions, url: str, **store: Mapping[str, object] | object
) -> Agent:
    """The secret in a file of its own."""
    base.mkdir()
    (base / "swift-key").write_text(f"{options.key}\n")
    login = {name: value for name, value in asdict(options).items() if value is not None}
    for name in ("key", "connect_timeout_s", "read_timeout_s", "connections"):
        del login[name]
    section: dict[str, Any] = {"retry_for_s": 30, **store, "swift": {**login, "key_file": str(base / "swift-key")}}
    return Agent(
        base,
        server,
        store_url=url,
        extra={"store": section, "stream": {"chunk_mib": 1, "memory_mib": 8}, "log": {"level": "debug"}},
    )


def keys(options: SwiftOptions, account: str | None) -> list[str]:
    store = SwiftStore(account, create=False, options=options)
    try:
        return [stored.key for stored in store.list("z_CLOUDDB_BACKUPS/")]
    finally:
        store.close()


def restored(agent: Agent, backup_id: str, base: Path) -> dict[str, tuple[int, int | None]]:
    agent.restore(backup_id, base / "restored")
    with PrivateMariaDB(base / "second", datadir=base / "restored") as server:
        return checksums(server, ["swift_shop"])


def test_a_chain_in_the_account_of_the_instance_restores(tmp_path: Path, shop: PrivateMariaDB) -> None:
    with PrivateSwift(tmp_path / "swift") as swift:
        agent = agent_on(tmp_path / "agent", shop, swift.options(), "swift://AUTH_{account_id}")
        said = [agent.run("config", "check"), agent.run("run-once", "--json", "--name", "full")]
        assert [outcome.status for outcome in said] == [0, 0], said
        assert f"swift://AUTH_{ACCOUNT}/z_CLOUDDB_BACKUPS: wrote, read and deleted a probe" in said[0].stdout
        full = said[1].json["backup"]
        sell(shop)
        before = checksums(shop, ["swift_shop"])
        incremental = agent.backup("--incremental")

        said += [agent.run("list", "--json"), agent.run("show", "latest")]
        assert [one["id"] for one in said[2].json["backups"]] == [incremental["id"], full["id"]]
        assert said[3].status == 0
        assert incremental["locationRef"] == (
            f"swift://AUTH_{ACCOUNT}/z_CLOUDDB_BACKUPS/{agent.instance_id}/{incremental['id']}/manifest.json"
        )
        stored = keys(swift.options(), f"AUTH_{ACCOUNT}")
        assert {key.split("/")[2] for key in stored} == {full["id"], incremental["id"]}
        assert restored(agent, incremental["id"], tmp_path) == before
    assert not any(re.search(r"serving|AUTH_tk", outcome.stdout + outcome.stderr) for outcome in said)


def test_a_backup_outlives_its_token_and_nobody_feels_it(tmp_path: Path, shop: PrivateMariaDB) -> None:
    """Each token is good for three seconds, long for a request; the backup takes more: its bandwidth is limited."""
    with PrivateSwift(tmp_path / "swift", token_life=3) as swift, FaultProxy(swift.port) as proxy:
        options = swift.options(url=proxy.url)
        account = new_account()
        agent = agent_on(tmp_path / "agent", shop, options, f"swift://{account}", bandwidth_limit_mib_s=1.0)

        outcome = agent.run("run-once", "--json")

        assert outcome.status == 0, outcome.stderr
        assert proxy.requests.count(LOGIN) >= 2
        assert outcome.events("the store does not do as asked, trying again") == []
        stored = keys(options, account)
        assert len(stored) >= 4
        assert stored[-1].endswith("/manifest.json")


def test_a_backup_by_way_of_keystone_restores_by_way_of_the_service_user(tmp_path: Path, shop: PrivateMariaDB) -> None:
    before = checksums(shop, ["swift_shop"])
    with Cloud(tmp_path / "cloud") as cloud:
        credential = cloud.keystone.application_credential(cloud.member)
        agent = agent_on(tmp_path / "agent", shop, credential, "swift://")
        outcome = agent.run("run-once", "--json")
        assert outcome.status == 0, outcome.stderr
        backup_id = outcome.json["backup"]["id"]

        keeper = agent_on(tmp_path / "keeper", shop, cloud.keeper, f"swift://AUTH_{cloud.project_id}")
        assert restored(keeper, backup_id, tmp_path) == before
        assert {key.split("/")[2] for key in keys(cloud.member, None)} == {backup_id}
    secrets = (credential.key, cloud.keeper.key, "gAAAA")  # which Fernet tokens begin with
    assert not any(secret in outcome.stdout + outcome.stderr for secret in secrets)

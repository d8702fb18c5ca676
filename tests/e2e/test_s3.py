"""The whole way through an S3 store, in fair weather and foul."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_agent.storage.s3 import S3Store
from tests.agent import Agent, checksums
from tests.servers.faultproxy import FaultProxy, answer_lost, answered, download_cut, passed, upload_cut
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

CHUNK_MIB = 1


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def shop(mariadb: PrivateMariaDB) -> PrivateMariaDB:
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(500)) ENGINE=InnoDB",
        "CREATE TABLE shop.log (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(500)) ENGINE=MyISAM",
    )
    sell(mariadb)
    return mariadb


def sell(server: PrivateMariaDB) -> None:
    for table in ("orders", "log"):
        server.execute(f"INSERT INTO shop.{table} (what) SELECT RANDOM_BYTES(400) FROM mysql.seq_1_to_5000")


def agent_on(s3: S3Server, base: Path, server: PrivateMariaDB, *, endpoint: str, bucket: str) -> Agent:
    options = s3.options()
    store: dict[str, Any] = {
        "retry_for_s": 30,
        "s3": {
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
        },
    }
    return Agent(
        base,
        server,
        store_url=f"s3://{bucket}/host-7/{{account_id}}",
        extra={"store": store, "stream": {"chunk_mib": CHUNK_MIB, "memory_mib": 8}},
    )


def keys(s3: S3Server, bucket: str) -> list[str]:
    store = S3Store(bucket, "", create=False, options=s3.options())
    try:
        return [stored.key for stored in store.list("")]
    finally:
        store.close()


def test_a_chain_in_a_bucket_restores(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server) -> None:
    bucket = s3.new_bucket()
    agent = agent_on(s3, tmp_path / "agent", shop, endpoint=s3.url, bucket=bucket)
    full = agent.backup("--name", "full")
    sell(shop)
    before = checksums(shop, ["shop"])
    incremental = agent.backup("--incremental")

    assert [one["id"] for one in agent.run("list", "--json").json["backups"]] == [incremental["id"], full["id"]]
    assert incremental["locationRef"] == (
        f"s3://{bucket}/host-7/1234/z_CLOUDDB_BACKUPS/{agent.instance_id}/{incremental['id']}/manifest.json"
    )
    prefix = f"host-7/1234/z_CLOUDDB_BACKUPS/{agent.instance_id}/"
    assert {key.removeprefix(prefix).split("/")[0] for key in keys(s3, bucket)} == {full["id"], incremental["id"]}

    shop.destroy_data()
    agent.restore(incremental["id"], tmp_path / "restored")
    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


def test_faults_that_pass_are_not_felt(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server) -> None:
    with FaultProxy(s3.port) as proxy:
        bucket = s3.new_bucket()
        agent = agent_on(s3, tmp_path / "agent", shop, endpoint=proxy.url, bucket=bucket)
        proxy.play(
            *[passed()] * 7,
            answered(503, "SlowDown"),
            upload_cut(100_000),
            answer_lost(),
            answered(500, "InternalError"),
            answered(429),
            upload_cut(1),
        )
        backup = agent.backup()
        before = checksums(shop, ["shop"])
        shop.destroy_data()

        proxy.play(
            *[passed()] * 3,
            answered(503, "SlowDown"),
            download_cut(100_000, then="reset"),
            download_cut(1, then="close"),
        )
        agent.restore(backup["id"], tmp_path / "restored")
    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", "store_denied"),
        (507, "QuotaExceeded", "store_full"),
        (400, "InvalidURI", "store_failed"),
    ],
)
def test_a_refusal_in_the_middle_fails_the_backup_and_clears_up(
    tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, status: int, code: str, error: str
) -> None:
    with FaultProxy(s3.port) as proxy:
        bucket = s3.new_bucket()
        agent = agent_on(s3, tmp_path / "agent", shop, endpoint=proxy.url, bucket=bucket)
        proxy.play(*[passed()] * 9, answered(status, code))

        outcome = agent.run("run-once", "--json")

        assert (outcome.status, outcome.error["code"]) == (8, error)
        assert [event["error"]["code"] for event in outcome.events("backup.failed")] == [error]
    assert keys(s3, bucket) == []


def test_a_store_that_stays_away_fails_the_backup_within_the_bound(
    tmp_path: Path, shop: PrivateMariaDB, s3: S3Server
) -> None:
    with FaultProxy(s3.port) as proxy:
        bucket = s3.new_bucket()
        agent = agent_on(s3, tmp_path / "agent", shop, endpoint=proxy.url, bucket=bucket)
        agent.environment["BACKUP_AGENT_STORE__RETRY_FOR_S"] = "1"
        proxy.play(*[passed()] * 9)
        proxy.otherwise = answered(503, "SlowDown")

        outcome = agent.run("run-once", "--json")

        assert (outcome.status, outcome.error["code"]) == (8, "store_unreachable")
        remains = outcome.events("objects of the failed backup remain")
        assert [line["code"] for line in remains] == ["store_unreachable"]
    assert not any(key.endswith("manifest.json") for key in keys(s3, bucket))

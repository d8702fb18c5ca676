"""Buckets that take nothing, go away, hold what others have put there, or keep and archive what the agent has put."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from backup_agent.storage.s3_client import connect
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import nothing_left_behind
from tests.faults.waiting import until
from tests.servers.faultproxy import Exchange, FaultProxy, answered, passed
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def client(s3: S3Server) -> Iterator[S3Client]:
    with closing(connect(s3.options())) as made:
        yield made


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3.port) as made:
        yield made


class Bucket:
    """One on the server, its agent, and what is in it."""

    def __init__(self, client: S3Client, agent: ConfinedAgent, name: str) -> None:
        self.client = client
        self.agent = agent
        self.name = name

    def objects(self) -> list[str]:
        if not self.exists():
            return []
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]

    def chunks(self) -> list[str]:
        return [key for key in self.objects() if "/chunk-" in key]

    def exists(self) -> bool:
        return self.name in {bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]}

    def destroy(self) -> None:
        """With all that is in it, and whatever is put there meanwhile."""
        until(self._is_destroyed, "the end of the bucket")

    def _is_destroyed(self) -> bool:
        for key in self.objects():
            self.client.delete_object(Bucket=self.name, Key=key)
        with suppress(ClientError):  # it is not empty again
            self.client.delete_bucket(Bucket=self.name)
        return not self.exists()


Making = Callable[..., Bucket]


@pytest.fixture
def making(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, client: S3Client) -> Making:
    """Makes an agent with a bucket, with more options for `store.s3`."""

    def make(endpoint: str = s3.url, **more: object) -> Bucket:
        options = s3.options()
        keys = {"access_key_id": options.access_key_id, "secret_access_key": options.secret_access_key}
        section: Mapping[str, object] = {"endpoint_url": endpoint, "region": "us-east-1", **keys, **more}
        name = s3.new_bucket()
        agent = ConfinedAgent(
            tmp_path / "agent", shop, store_url=f"s3://{name}", extra={**SMALL_CHUNKS, "store": {"s3": section}}
        )
        return Bucket(client, agent, name)

    return make


def test_a_bucket_that_takes_nothing_is_found_before_the_engine_is_started(
    making: Making, shop: PrivateMariaDB, proxy: FaultProxy
) -> None:
    bucket = making(proxy.url)
    bucket.client.create_bucket(Bucket=bucket.name)

    def read_only(exchange: Exchange) -> None:
        (passed() if exchange.command in {"GET", "HEAD"} else answered(403, "AccessDenied"))(exchange)

    proxy.otherwise = read_only
    with nothing_left_behind(bucket.agent, shop):
        outcome = bucket.agent.run("run-once")
        refused(outcome, "store_denied", "store", "can't put", bucket.name)
    assert outcome.events("backup.started") == []
    assert bucket.objects() == []


def test_a_bucket_that_is_deleted_in_the_middle_fails_the_backup_at_once(making: Making, shop: PrivateMariaDB) -> None:
    bucket = making()
    with (
        nothing_left_behind(bucket.agent, shop),
        notes_are_written(shop) as release,
        Running(bucket.agent, "run-once") as running,
    ):
        until(lambda: len(bucket.chunks()) >= 3, "three chunks")
        bucket.destroy()
        release()
        refused(running.end(), "store_missing", "store", bucket.name)
    assert bucket.agent.backup()["status"] == "COMPLETED"


def test_what_somebody_else_puts_in_the_way_of_a_chunk_fails_the_backup(making: Making, shop: PrivateMariaDB) -> None:
    bucket = making()
    with (
        nothing_left_behind(bucket.agent, shop),
        notes_are_written(shop) as release,
        Running(bucket.agent, "run-once") as running,
    ):
        until(lambda: len(bucket.chunks()) >= 3, "three chunks")
        there = bucket.chunks()
        prefix = there[0].rpartition("-")[0]
        for number in range(len(there), len(there) + 30):
            bucket.client.put_object(Bucket=bucket.name, Key=f"{prefix}-{number:08d}.zst", Body=b"garbage")
        release()
        refused(running.end(), "object_exists", "store", prefix)
    assert not any(key.endswith("manifest.json") for key in bucket.objects())


def test_what_the_store_has_to_keep_of_a_failed_backup_fails_no_other(
    making: Making, shop: PrivateMariaDB, proxy: FaultProxy
) -> None:
    bucket = making(proxy.url, lock_mode="COMPLIANCE", lock_days=1)

    def denying_the_fourth(exchange: Exchange) -> None:
        denied = exchange.command == "PUT" and "chunk-00000003" in exchange.path
        (answered(403, "AccessDenied") if denied else passed())(exchange)

    proxy.otherwise = denying_the_fourth
    with nothing_left_behind(bucket.agent, shop):
        outcome = bucket.agent.run("run-once")
        refused(outcome, "store_denied", "store")
    (remains,) = outcome.events("objects of the failed backup remain")
    assert remains["code"] == "object_locked"
    kept = bucket.objects()

    proxy.otherwise = passed()
    backup = bucket.agent.backup()

    assert backup["status"] == "COMPLETED"
    assert set(kept) < set(bucket.objects())
    assert [one["id"] for one in bucket.agent.run("list", "--json").json["backups"]] == [backup["id"]]
    for key in bucket.objects():
        assert bucket.client.head_object(Bucket=bucket.name, Key=key)["ObjectLockMode"] == "COMPLIANCE"


def test_a_backup_that_was_archived_is_listed_but_must_be_brought_back_before_it_restores(
    making: Making, tmp_path: Path
) -> None:
    bucket = making(storage_class="GLACIER", encryption="AES256")
    bucket.agent.environment["BACKUP_AGENT_STORE__S3__METADATA"] = '{"site": "north"}'
    backup_id = bucket.agent.backup()["id"]

    told = bucket.client.head_object(Bucket=bucket.name, Key=bucket.chunks()[0])
    assert (told["StorageClass"], told["ServerSideEncryption"]) == ("GLACIER", "AES256")
    assert told["Metadata"] == {"site": "north", "backup-id": backup_id, "instance-id": bucket.agent.instance_id}
    assert [one["id"] for one in bucket.agent.run("list", "--json").json["backups"]] == [backup_id]
    outcome = bucket.agent.run("restore", backup_id, "--target-dir", tmp_path / "target")
    refused(outcome, "object_archived", "store", "chunk-00000000")
    assert "restore-object" in outcome.error["hint"]

    for key in bucket.chunks():
        bucket.client.restore_object(Bucket=bucket.name, Key=key, RestoreRequest={"Days": 1})
    bucket.agent.restore(backup_id, tmp_path / "target", "--no-prepare", "--force")

"""`backup-agent gc` beside a backup that is being taken, and on S3."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_agent.storage.s3 import S3Store
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.conftest import CREATE_SHOP
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

DAY = 86_400


@pytest.fixture(scope="module")
def shop(shared_mariadb: PrivateMariaDB) -> PrivateMariaDB:
    shared_mariadb.execute("DROP DATABASE IF EXISTS shop", *CREATE_SHOP)
    return shared_mariadb


@pytest.fixture
def agent(tmp_path: Path, shop: PrivateMariaDB) -> ConfinedAgent:
    return ConfinedAgent(tmp_path / "agent", shop)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def leave(agent: ConfinedAgent) -> Path:
    """A chunk of a backup that was killed two days ago."""
    directory = agent.directory(str(uuid.uuid4()))
    directory.mkdir(parents=True)
    chunk = directory / "chunk-00000000.zst"
    chunk.write_bytes(b"x" * 100)
    os.utime(chunk, (time.time() - 2 * DAY,) * 2)
    return directory


def test_a_backup_that_is_being_taken_shows_signs_of_life_and_is_let_alone(
    agent: ConfinedAgent, shop: PrivateMariaDB
) -> None:
    old = leave(agent)
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(lambda: any("/chunk-00000001" in name for name in agent.stored_files()), "chunks")
        assert len([name for name in agent.stored_files() if name.endswith("/attempt-00000001.json")]) == 1
        refused(agent.run("gc"), "instance_busy", "busy")
        dry = agent.run("gc", "--dry-run", "--json").json["garbage"]["found"]
        assert [one["id"] for one in dry if one["kept"] is None] == [old.name]
        release()
        assert running.end().status == 0
    assert not [name for name in agent.stored_files() if "attempt-" in name]
    outcome = agent.run("gc", "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.json["garbage"]["removed"] == {"objects": 1, "bytes": 100}
    assert not old.exists()
    assert len(agent.run("list", "--json").json["backups"]) == 1


def test_on_s3_ages_are_those_of_the_store(s3: S3Server, shop: PrivateMariaDB, tmp_path: Path) -> None:
    bucket = s3.new_bucket()
    options = s3.options()
    config: dict[str, Any] = {
        "s3": {
            "endpoint_url": s3.url,
            "region": "us-east-1",
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
        }
    }
    agent = ConfinedAgent(tmp_path / "agent", shop, store_url=f"s3://{bucket}", extra={**SMALL_CHUNKS, "store": config})
    store = S3Store(bucket, "", create=True, options=options)
    store.prepare("z_CLOUDDB_BACKUPS")
    key = f"z_CLOUDDB_BACKUPS/{agent.instance_id}/{uuid.uuid4()}/chunk-00000000.zst"
    store.put(key, b"x")
    outcome = agent.run("gc", "--json")
    assert outcome.status == 0, outcome.stderr
    (found,) = json.loads(outcome.stdout)["garbage"]["found"]
    assert found["kept"] == "its youngest object is younger than the grace time"
    assert [one.key for one in store.list("")] == [key], "no probe stays"
    store.close()

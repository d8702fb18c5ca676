"""Stores that can't be reached, refuse, are full, or lose what they had."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from backup_agent.domain.manifest import decode, encode
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running, without_powers
from tests.faults.disks import IS_ROOT, files_limited_to, remount_read_only, small_disk
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import nothing_left_behind
from tests.faults.waiting import until
from tests.servers.faultproxy import FaultProxy, answered
from tests.servers.mariadb import PrivateMariaDB, free_port

pytestmark = pytest.mark.server

RETRY_SECONDS = 2
ROOM_TO_START = 50
"""Seconds that a busy machine may take to start and to end the agent. Together less than the 60 that the agent waits
for an answer unless it is told otherwise.
"""


def on_s3(base: Path, server: PrivateMariaDB, port: int, *, answer_s: int) -> ConfinedAgent:
    """Which waits that long for an answer."""
    store: dict[str, Any] = {
        "retry_for_s": RETRY_SECONDS,
        "connect_timeout_s": answer_s,
        "read_timeout_s": answer_s,
        "s3": {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region": "us-east-1",
            "access_key_id": "key-id",
            "secret_access_key": "secret-key",
        },
    }
    return ConfinedAgent(base, server, store_url="s3://bucket/prefix", extra={**SMALL_CHUNKS, "store": store})


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Of a listener that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        yield port


@pytest.mark.alone
@pytest.mark.parametrize("how", ["refused", "deaf"])
def test_an_endpoint_that_does_not_answer_is_given_up_in_time(
    tmp_path: Path, shop: PrivateMariaDB, deaf_port: int, how: str
) -> None:
    agent = on_s3(tmp_path / "agent", shop, deaf_port if how == "deaf" else free_port(), answer_s=1)
    with nothing_left_behind(agent, shop):
        for arguments in (("run-once",), ("list",)):
            began = time.monotonic()
            outcome = agent.run(*arguments)
            assert time.monotonic() - began < RETRY_SECONDS + ROOM_TO_START
            refused(outcome, "store_unreachable", "store", "gave up after", "http://127.0.0.1:")


def test_an_endpoint_that_denies_is_asked_once(tmp_path: Path, shop: PrivateMariaDB) -> None:
    with FaultProxy(free_port()) as proxy:
        proxy.otherwise = answered(403, "AccessDenied")
        agent = on_s3(tmp_path / "agent", shop, int(proxy.url.rpartition(":")[2]), answer_s=60)
        with nothing_left_behind(agent, shop):
            outcome = agent.run("run-once")
            refused(outcome, "store_denied", "store")
        assert len(proxy.requests) == 1
    assert "secret-key" not in outcome.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/backups", "is of no known kind"),
        ("/var/backups", "is a path and no URL"),
        ("s3://key:secret@bucket", "holds credentials"),
    ],
)
def test_a_store_url_of_no_known_kind_is_a_matter_of_configuration(
    tmp_path: Path, shop: PrivateMariaDB, url: str, words: str
) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, store_url=url)
    with nothing_left_behind(agent):
        refused(agent.run("run-once"), "store_url", "config", words)


def test_a_directory_that_may_not_be_made_is_missing(tmp_path: Path, shop: PrivateMariaDB) -> None:
    extra = {**SMALL_CHUNKS, "store": {"create": False}}
    agent = ConfinedAgent(tmp_path / "agent", shop, extra=extra)
    with nothing_left_behind(agent):
        refused(agent.run("run-once"), "store_missing", "store", str(agent.store))
    agent.store.mkdir()
    assert agent.backup()["status"] == "COMPLETED"


def test_a_directory_that_may_not_be_written_denies(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    agent.prefix = without_powers()
    agent.store.mkdir(mode=0o500)
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "store_denied", "store", str(agent.store), "Permission denied")
    agent.store.chmod(0o700)
    assert agent.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize("kind", ["garbage", "directory"])
def test_what_somebody_else_puts_in_the_way_of_a_chunk_fails_the_backup(
    agent: ConfinedAgent, shop: PrivateMariaDB, kind: str
) -> None:
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        until(lambda: len(agent.stored_files()) >= 3, "three chunks")
        chunk = agent.store / agent.stored_files()[-1]
        for number in range(200):
            other = chunk.with_name(f"chunk-{number:08d}.zst")
            with suppress(FileExistsError):
                other.mkdir() if kind == "directory" else other.touch(exist_ok=False)
        release()
        refused(running.end(), "object_exists", "store", "something else lies there")
    assert not any(name.endswith("manifest.json") for name in agent.stored_files())
    assert agent.backup()["status"] == "COMPLETED"


def test_a_manifest_of_a_newer_format_is_named_so_and_not_built_upon(agent: ConfinedAgent, tmp_path: Path) -> None:
    backup_id = agent.backup()["id"]
    path = agent.directory(backup_id) / "manifest.json"
    found = decode(path.read_bytes(), instance_id=agent.instance_id, backup_id=backup_id).manifest
    path.write_bytes(encode(found.model_copy(update={"format": 99})))
    with nothing_left_behind(agent):
        for arguments in (
            ("run-once", "--parent", backup_id),
            ("restore", backup_id, "--target-dir", tmp_path / "target"),
        ):
            outcome = agent.run(*arguments)
            refused(outcome, "manifest_format", "integrity", "has format 99; this program reads format")
            assert "newer" in outcome.error["hint"]
    assert not (tmp_path / "target").exists()


DISKS = ["limited files"] + (["small disk", "read-only disk"] if IS_ROOT else [])


@pytest.mark.parametrize("kind", DISKS)
def test_a_store_without_room_fails_the_backup_and_is_emptied(tmp_path: Path, shop: PrivateMariaDB, kind: str) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop)
    with ExitStack() as stack:
        if kind == "limited files":
            agent.prefix = files_limited_to(500_000)
        else:
            stack.enter_context(small_disk(agent.store, 4))
        if kind == "read-only disk":
            remount_read_only(agent.store)
        with nothing_left_behind(agent, shop):
            outcome = agent.run("run-once")
            refused(outcome, "store_denied" if kind == "read-only disk" else "store_full", "store")
    agent.prefix = ()
    assert agent.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("lost", "code", "kind"), [("z_CLOUDDB_BACKUPS", "chunk_missing", "integrity"), ("", "store_missing", "store")]
)
def test_a_store_that_loses_chunks_in_the_middle_completes_nothing(
    agent: ConfinedAgent, tmp_path: Path, shop: PrivateMariaDB, lost: str, code: str, kind: str
) -> None:
    with (
        nothing_left_behind(agent, shop),
        notes_are_written(shop) as release,
        Running(agent, "run-once") as running,
    ):
        until(lambda: len([name for name in agent.stored_files() if "/chunk-" in name]) >= 3, "three chunks")
        (agent.store / lost).rename(tmp_path / "lost")  # at once, whatever is just written there
        release()
        refused(running.end(), code, kind)
    assert agent.backup()["status"] == "COMPLETED"

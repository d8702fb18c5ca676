"""A store that is silent, refuses or is away while a backup is taken: the locks do not notice, and nothing is lost."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent import checksums
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind, processes
from tests.faults.waiting import PATIENCE, until
from tests.servers.faultproxy import Exchange, FaultProxy, Step, answered, passed, unanswered
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

CHUNK, MEMORY = 1, 8
"""In MiB: far less memory than the tables that are locked while they are copied."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def forum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """24 MiB in a MyISAM table, a few in an InnoDB one; none of it can be compressed."""
    with PrivateMariaDB(tmp_path_factory.mktemp("forum")) as server:
        create_agent_user(server)
        row = ", ".join(["RANDOM_BYTES(1024)"] * 4)
        server.execute(
            "CREATE DATABASE forum",
            "CREATE TABLE forum.users (id INT PRIMARY KEY, what BLOB) ENGINE=InnoDB",
            "CREATE TABLE forum.posts (id INT PRIMARY KEY, what BLOB) ENGINE=MyISAM",
            f"INSERT INTO forum.users SELECT seq, CONCAT({row}) FROM mysql.seq_1_to_500",
            f"INSERT INTO forum.posts SELECT seq, CONCAT({row}) FROM mysql.seq_1_to_6000",
        )
        yield server


def agent_behind(
    proxy: FaultProxy, s3: S3Server, base: Path, server: PrivateMariaDB, *, answer_s: int = 60, **extra: Any
) -> ConfinedAgent:
    """Which waits that long for an answer of the store."""
    options = s3.options()
    store = {
        "retry_for_s": 120,
        "read_timeout_s": answer_s,
        "s3": {
            "endpoint_url": proxy.url,
            "region": "us-east-1",
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
        },
    }
    stream = {"chunk_mib": CHUNK, "memory_mib": MEMORY}
    return ConfinedAgent(
        base / "agent",
        server,
        store_url=f"s3://{s3.new_bucket()}",
        extra={"store": store, "stream": stream, **extra},
    )


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3.port) as proxy:
        yield proxy


def puts_when(opened: threading.Event) -> Step:
    """Chunks are put no sooner than that; all else passes."""

    def step(exchange: Exchange) -> None:
        if exchange.command == "PUT" and "/chunk-" in exchange.path:
            opened.wait(PATIENCE)
        passed()(exchange)

    return step


def spooled(agent: ConfinedAgent) -> list[Path]:
    return [path for path in agent.spool_dir.rglob("*") if path.is_file()]


def serves(agent: ConfinedAgent, server: PrivateMariaDB, backup_id: str, base: Path) -> bool:
    """Whether a server on the restored backup has the same rows."""
    before = checksums(server, ["forum"])
    agent.restore(backup_id, base / "restored")
    with PrivateMariaDB(base / "second", datadir=base / "restored") as restored:
        return checksums(restored, ["forum"]) == before


def test_locks_are_released_although_not_one_chunk_was_stored(
    tmp_path: Path, forum: PrivateMariaDB, s3: S3Server, proxy: FaultProxy
) -> None:
    opened = threading.Event()
    agent = agent_behind(proxy, s3, tmp_path, forum)
    proxy.otherwise = puts_when(opened)
    with Running(agent, "run-once", "--json") as running:
        running.await_word("backup.progress", phase="finishing")
        files = spooled(agent)
        opened.set()
        outcome = running.end()
    assert outcome.status == 0, outcome.stderr
    (finishing, *_) = [line for line in outcome.events("backup.progress") if line["phase"] == "finishing"]
    assert finishing["bytes_stored"] == 0
    assert files
    assert spooled(agent) == []
    assert not any("were full" in line["notice"] for line in outcome.events("backup.warning"))
    assert serves(agent, forum, outcome.json["backup"]["id"], tmp_path)


def test_without_a_spool_the_engine_waits_and_the_operator_is_told(
    tmp_path: Path, forum: PrivateMariaDB, s3: S3Server, proxy: FaultProxy
) -> None:
    opened = threading.Event()
    locks = {"on_blocker": "wait", "max_lock_seconds": 4}
    agent = agent_behind(proxy, s3, tmp_path, forum, answer_s=3, spool={"max_mib": 0}, locks=locks)
    proxy.otherwise = puts_when(opened)
    with nothing_left_behind(agent, None):
        with Running(agent, "run-once") as running:
            running.await_word("backup.failed")
            opened.set()
            outcome = running.end()
        refused(outcome, "lock_budget_exceeded", "engine")
    first, *others = (line["notice"] for line in outcome.events("backup.warning"))
    assert "write-locked while they are copied" in first
    assert any("the spool has room for 0 MiB" in notice for notice in others)
    assert any("memory and spool were full while tables were locked" in notice for notice in others)


def test_a_spool_directory_that_cannot_be_made_is_told_before_anything_begins(
    tmp_path: Path, forum: PrivateMariaDB, s3: S3Server, proxy: FaultProxy
) -> None:
    (tmp_path / "file").touch()
    agent = agent_behind(proxy, s3, tmp_path, forum, spool={"dir": str(tmp_path / "file" / "spool")})
    outcome = agent.run("run-once")
    refused(outcome, "spool_unusable", "instance", str(tmp_path / "file" / "spool"))
    assert outcome.events("backup.rejected")


@pytest.mark.parametrize(
    ("outage", "answer_s"),
    [
        pytest.param(lambda: [unanswered()] * 6 + [answered(503, "SlowDown")] * 12, 3, id="hangs, then refuses"),
        pytest.param(lambda: [answered(500, "InternalError")] * 30, 60, id="errors"),
    ],
)
def test_an_outage_that_the_spool_outlasts_is_survived(
    tmp_path: Path,
    forum: PrivateMariaDB,
    s3: S3Server,
    proxy: FaultProxy,
    outage: Callable[[], list[Step]],
    answer_s: int,
) -> None:
    agent = agent_behind(proxy, s3, tmp_path, forum, answer_s=answer_s)
    script = iter(outage())

    def puts_fail_as_scripted(exchange: Exchange) -> None:
        is_chunk = exchange.command == "PUT" and "/chunk-" in exchange.path
        (next(script, passed()) if is_chunk else passed())(exchange)

    proxy.otherwise = puts_fail_as_scripted
    outcome = agent.run("run-once", "--json")
    assert outcome.status == 0, outcome.stderr
    assert next(script, None) is None
    assert not any("were full" in line["notice"] for line in outcome.events("backup.warning"))
    assert serves(agent, forum, outcome.json["backup"]["id"], tmp_path)


def test_what_a_killed_agent_left_in_the_spool_is_private_and_removed_by_the_next(
    tmp_path: Path, forum: PrivateMariaDB, s3: S3Server, proxy: FaultProxy
) -> None:
    opened = threading.Event()
    agent = agent_behind(proxy, s3, tmp_path, forum)
    proxy.otherwise = puts_when(opened)
    with Running(agent, "run-once") as running:
        until(lambda: spooled(agent), "spool files")
        running.kill()
        running.end()
    opened.set()
    until(lambda: processes(agent) == [], "the end of the engine")
    left = spooled(agent)
    assert left
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}
    assert stat.S_IMODE(left[0].parent.stat().st_mode) == 0o700
    proxy.forget()
    assert agent.backup()["status"] == "COMPLETED"
    assert spooled(agent) == []

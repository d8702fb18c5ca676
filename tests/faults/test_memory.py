"""The agent's memory is bounded by its configuration, whatever the database's size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import Agent
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.waiting import until
from tests.servers.faultproxy import Exchange, FaultProxy, passed, upload_cut
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.server, pytest.mark.alone]

LIMIT = 256 << 20
SIZE = 400 << 20
ROW = 60 * 1024


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """A server with 400 MiB that can't be compressed."""
    options = ["skip-log-bin", "innodb-log-file-size=128M"]
    with PrivateMariaDB(tmp_path_factory.mktemp("large"), extra_options=options) as server:
        create_agent_user(server)
        row = ", ".join(["RANDOM_BYTES(1024)"] * (ROW // 1024))
        server.execute(
            "CREATE DATABASE large",
            "CREATE TABLE large.rows (id INT PRIMARY KEY, what MEDIUMBLOB) ENGINE=InnoDB",
            f"INSERT INTO large.rows SELECT seq, CONCAT({row}) FROM mysql.seq_1_to_{SIZE // ROW}",
        )
        yield server


def peak(pid: int) -> int:
    """VmHWM in bytes; 0 once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def watched(agent: Agent, *arguments: str | Path) -> tuple[int, int]:
    """Runs a command; its peak as the kernel told it while it ran, and as it told itself at its end."""
    seen = 0
    with Running(agent, *arguments) as running:

        def ended() -> bool:
            nonlocal seen
            seen = max(seen, peak(running.pid))
            return running.ended

        until(ended, "its end", 200)
        outcome = running.end()
    assert outcome.status == 0, outcome.stderr
    (told,) = outcome.events("peak memory")
    return seen, int(told["agent_bytes"])


def test_memory_stays_below_a_quarter_of_a_gibibyte(tmp_path: Path, large: PrivateMariaDB) -> None:
    """With the defaults, for a full backup and its restore; neither has ever the 400 MiB at once."""
    agent = ConfinedAgent(tmp_path / "agent", large, extra={})
    for arguments in (("run-once", "--json"), ("restore", "latest", "--target-dir", tmp_path / "target")):
        assert all(32 << 20 < peak_bytes < LIMIT for peak_bytes in watched(agent, *arguments))
    size = sum(path.stat().st_size for path in agent.store.rglob("chunk-*"))
    assert size > SIZE


def test_a_store_that_takes_nothing_at_the_first_try_costs_no_memory(tmp_path: Path, large: PrivateMariaDB) -> None:
    tried: set[str] = set()

    def at_the_second_try(exchange: Exchange) -> None:
        is_first = exchange.command == "PUT" and "/chunk-" in exchange.path and exchange.path not in tried
        tried.add(exchange.path)
        (upload_cut(1 << 20) if is_first else passed())(exchange)

    with S3Server() as s3, FaultProxy(s3.port) as proxy:
        proxy.otherwise = at_the_second_try
        options = s3.options()
        keys = {"access_key_id": options.access_key_id, "secret_access_key": options.secret_access_key}
        section = {"endpoint_url": proxy.url, "region": "us-east-1", **keys}
        agent = ConfinedAgent(
            tmp_path / "agent", large, store_url=f"s3://{s3.new_bucket()}", extra={"store": {"s3": section}}
        )
        assert all(peak_bytes < LIMIT for peak_bytes in watched(agent, "run-once", "--json"))
    assert len([path for path in tried if "/chunk-" in path]) > SIZE // (32 << 20)

"""The agent's memory is bounded by its configuration, whatever the database's size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import Agent
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

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

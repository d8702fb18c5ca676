"""A backup restores with zstd, mbstream and mariadb-backup alone, by the commands the README shows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.agent import Agent
from tests.e2e.judging import broken_tables, contents, serving
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

README = Path(__file__).parents[2] / "README.md"
SECTION = "**Without this program**"
SMALL = {"stream": {"chunk_mib": 1, "memory_mib": 4}}


def recipes() -> tuple[str, str, str]:
    """The README's commands for a full backup, for each incremental after it, and for an encrypted full one."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text().partition(SECTION)[2], re.DOTALL)
    full, incremental, encrypted = ("".join(re.findall(r"^# (.*\n)", block, re.MULTILINE)) for block in blocks[:3])
    return full, incremental, encrypted


def by_hand(recipe: str, directory: Path, target: Path) -> None:
    """In the shell, with places of this test's for those of the README."""
    target.mkdir(exist_ok=True)
    script = recipe.replace("cd z_CLOUDDB_BACKUPS/INSTANCE_ID/BACKUP_ID", f"cd {directory}").replace(
        "/srv/", f"{target}/"
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def fill(server: PrivateMariaDB, first: int) -> None:
    rows = f"SELECT seq, REPEAT(MD5(seq), 20) FROM mysql.seq_{first}_to_{first + 4999}"
    server.execute(*(f"INSERT INTO shop.{engine} {rows}" for engine in ("InnoDB", "MyISAM", "Aria")))


def test_a_full_and_its_incremental_restore_by_hand(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", mariadb, extra=SMALL)
    mariadb.execute(
        "CREATE DATABASE shop",
        *(
            f"CREATE TABLE shop.{engine} (id INT PRIMARY KEY, what TEXT) ENGINE={engine}"
            for engine in ("InnoDB", "MyISAM", "Aria")
        ),
    )
    fill(mariadb, 1)
    full = agent.backup()
    at_full = contents(mariadb, "shop")
    fill(mariadb, 10_001)
    incremental = agent.backup("--incremental")
    at_incremental = contents(mariadb, "shop")
    assert len(list(agent.directory(full["id"]).glob("chunk-*.zst"))) > 2
    first, then, _ = recipes()

    by_hand(first, agent.directory(full["id"]), tmp_path / "one")
    with serving(tmp_path / "one/full") as server:
        assert broken_tables(server) == []
        assert contents(server, "shop") == at_full

    by_hand(first, agent.directory(full["id"]), tmp_path / "two")
    by_hand(then, agent.directory(incremental["id"]), tmp_path / "two")
    with serving(tmp_path / "two/full") as server:
        assert broken_tables(server) == []
        assert contents(server, "shop") == at_incremental

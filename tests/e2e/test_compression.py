"""Whatever the compression, a backup restores; and what was not compressed is plain `mbstream`."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.agent import Agent, checksums
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


@pytest.fixture
def shop(mariadb: PrivateMariaDB) -> PrivateMariaDB:
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARCHAR(100)) ENGINE=InnoDB",
        "CREATE TABLE shop.log (id INT PRIMARY KEY, what VARCHAR(100)) ENGINE=MyISAM",
        *(
            f"INSERT INTO shop.{table} SELECT seq, SHA2(seq, 256) FROM mysql.seq_1_to_20000"
            for table in ("orders", "log")
        ),
    )
    return mariadb


@pytest.mark.parametrize(("compression", "suffix"), [("none", ""), ("auto", ".zst")])
def test_a_chain_restores(tmp_path: Path, shop: PrivateMariaDB, compression: str, suffix: str) -> None:
    agent = Agent(
        tmp_path / "agent", shop, extra={"stream": {"compression": compression, "chunk_mib": 1, "memory_mib": 6}}
    )
    full = agent.backup()
    shop.execute("UPDATE shop.orders SET what = 'sold'")
    before = checksums(shop, ["shop"])
    incremental = agent.backup("--incremental")

    assert {path.suffix for path in agent.directory(full["id"]).glob("chunk-*")} == {suffix}
    assert (full["raw_size"] == full["stored_size"]) == (compression == "none")
    agent.restore(incremental["id"], tmp_path / "restored")
    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before


def test_what_is_not_compressed_is_extracted_by_the_stock_tools_alone(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", shop, extra={"stream": {"compression": "none"}})
    directory = agent.directory(agent.backup()["id"])
    target = tmp_path / "extracted"
    target.mkdir()
    command = f"cat {shlex.quote(str(directory))}/chunk-* | mbstream -x -C {shlex.quote(str(target))}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
    assert (target / "shop" / "log.MYD").stat().st_size == (shop.datadir / "shop" / "log.MYD").stat().st_size

"""The shortest way through the whole: a backup and its restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent import Agent, checksums
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


def test_a_restored_full_backup_serves_the_same_rows(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", mariadb)
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(100)) ENGINE=InnoDB",
        "CREATE TABLE shop.log (id INT PRIMARY KEY, what VARCHAR(100)) ENGINE=MyISAM",
        "INSERT INTO shop.orders (what) SELECT CONCAT('thing ', seq) FROM mysql.seq_1_to_5000",
        "INSERT INTO shop.log SELECT seq, 'seen' FROM mysql.seq_1_to_500",
    )
    before = checksums(mariadb, ["shop"])

    backup = agent.backup("--name", "smoke")
    mariadb.destroy_data()
    agent.restore(backup["id"], tmp_path / "restored")

    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == before

"""Writes without any DDL, in tables outside of InnoDB, neither fail a backup nor make it be taken once more."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pymysql.connections import Connection

from tests.agent import Agent
from tests.e2e.load import Load, Worker
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

KINDS = {
    "shop.myisam": "ENGINE=MyISAM",
    "shop.aria": "ENGINE=Aria TRANSACTIONAL=0",
    "shop.csv": "ENGINE=CSV",
}
BACKUPS = 5


def emptied_and_filled(table: str) -> Worker:
    """Large and small by turns; pauses, so that a statement is seldom at work when the tables are locked."""

    def work(connection: Connection[Any], stop: threading.Event) -> None:
        with connection.cursor() as cursor:
            while not stop.wait(0.03):
                cursor.execute(f"INSERT INTO {table} SELECT seq, 'a row' FROM mysql.seq_1_to_50")
                stop.wait(0.03)
                cursor.execute(f"DELETE FROM {table}")

    return work


def test_tables_that_are_emptied_and_filled_again_are_backed_up_at_once(
    tmp_path: Path, mariadb: PrivateMariaDB
) -> None:
    mariadb.execute(
        "CREATE DATABASE shop",
        *(f"CREATE TABLE {table} (id INT NOT NULL, what VARCHAR(20) NOT NULL) {kind}" for table, kind in KINDS.items()),
    )
    agent = Agent(tmp_path / "agent", mariadb)
    with Load(mariadb, *(emptied_and_filled(table) for table in KINDS)):
        outcomes = [agent.run("run-once", "--json") for _ in range(BACKUPS)]

    notices = [line["notice"] for outcome in outcomes for line in outcome.log if "notice" in line]
    assert [outcome.status for outcome in outcomes] == [0] * BACKUPS, outcomes[-1].stderr
    assert [notice for notice in notices if "has shrunk" in notice] == []

"""Writes without any DDL, in tables outside of InnoDB, neither fail a backup nor make it be taken once more."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.constants import ER

from tests.agent import Agent
from tests.e2e.load import Load, Worker
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

KINDS = {
    "shop.myisam": "ENGINE=MyISAM",
    "shop.aria": "ENGINE=Aria TRANSACTIONAL=0",
    "shop.csv": "ENGINE=CSV",
}
ROWS = 50
LOG_MIB = 12
SLOW_STORE = {
    "store": {"bandwidth_limit_mib_s": 2},
    "spool": {"max_mib": 0},
    "stream": {"chunk_mib": 1, "memory_mib": 4, "threads": 1},
}


def sees_the_lock(locked: threading.Event) -> Worker:
    """Sets `locked` when writers of tables outside of InnoDB have to wait; its own statement never writes a row."""

    def work(connection: Connection[Any], stop: threading.Event) -> None:
        with connection.cursor() as cursor:
            while not stop.wait(0.01):
                try:
                    cursor.execute("SET STATEMENT lock_wait_timeout = 0 FOR DELETE FROM shop.probe WHERE id < 0")
                except pymysql.err.OperationalError as error:
                    if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
                        raise
                    locked.set()
                    return

    return work


def emptied_after_the_lock(table: str, locked: threading.Event) -> Worker:
    """Its statement is asked for while the tables are locked, and is carried out as soon as they are not."""

    def work(connection: Connection[Any], stop: threading.Event) -> None:
        while not (locked.wait(0.01) or stop.is_set()):
            pass
        if locked.is_set():
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {table}")

    return work


def fill_the_general_log(server: PrivateMariaDB) -> None:
    """The engine copies it under the last of its locks: the slower the store, the longer these last."""
    server.execute(
        "SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON",
        *(f"DO /* {secrets.token_urlsafe(2**20 * 3 // 4)} */ 1" for _ in range(LOG_MIB)),
        "SET GLOBAL general_log = OFF",
    )


def rows(server: PrivateMariaDB) -> dict[str, int]:
    return {table: server.query(f"SELECT COUNT(*) FROM {table}")[0][0] for table in KINDS}


def test_tables_that_are_emptied_as_soon_as_the_locks_are_released_are_backed_up_at_once(
    tmp_path: Path, mariadb: PrivateMariaDB
) -> None:
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.probe (id INT NOT NULL) ENGINE=MyISAM",
        *(f"CREATE TABLE {table} (id INT NOT NULL, what VARCHAR(20) NOT NULL) {kind}" for table, kind in KINDS.items()),
        *(f"INSERT INTO {table} SELECT seq, 'a row' FROM mysql.seq_1_to_{ROWS}" for table in KINDS),
    )
    fill_the_general_log(mariadb)
    agent = Agent(tmp_path / "agent", mariadb, extra=SLOW_STORE)
    locked = threading.Event()
    with Load(mariadb, sees_the_lock(locked), *(emptied_after_the_lock(table, locked) for table in KINDS)):
        outcome = agent.run("run-once", "--json")

    assert outcome.status == 0, outcome.stderr
    assert [line["notice"] for line in outcome.log if "once more" in line.get("notice", "")] == []
    assert rows(mariadb) == dict.fromkeys(KINDS, 0)

    target = tmp_path / "restored"
    agent.restore(outcome.json["backup"]["id"], target)
    with PrivateMariaDB(tmp_path / "restored-server", datadir=target) as restored:
        assert rows(restored) == dict.fromkeys(KINDS, ROWS)

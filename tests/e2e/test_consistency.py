"""A backup under writers holds what was committed at its binlog position: the rest of the log makes it the source."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agent import Agent
from tests.e2e.judging import broken_tables, contents, serving
from tests.e2e.load import (
    ACCOUNTS,
    BALANCE,
    Load,
    Worker,
    create_accounts,
    create_numbered_rows,
    gaps,
    numbered_rows,
    total_amount,
    transfers,
)
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

TABLES = {"shop.innodb": "ENGINE=InnoDB", "shop.myisam": "ENGINE=MyISAM", "shop.aria": "ENGINE=Aria"}
WRITERS = 3


def workers() -> list[Worker]:
    rows = [numbered_rows("shop.innodb", writer) for writer in range(WRITERS)]
    locked = [numbered_rows(table, 0, pause=0.001) for table in ("shop.myisam", "shop.aria")]
    return [*rows, *locked, *(transfers("shop.one", "shop.other", seed) for seed in range(2))]


def test_a_restored_backup_and_the_binary_log_from_its_position_are_the_source(
    tmp_path: Path, mariadb: PrivateMariaDB
) -> None:
    agent = Agent(tmp_path / "agent", mariadb)
    mariadb.execute("CREATE DATABASE shop", *(create_numbered_rows(*table) for table in TABLES.items()))
    mariadb.execute(*create_accounts("shop.one"), *create_accounts("shop.other"))

    with Load(mariadb, *workers()):
        wait_for_more_rows(mariadb)
        full = agent.backup()
        mariadb.execute("FLUSH BINARY LOGS")
        wait_for_more_rows(mariadb)
        incremental = agent.backup("--incremental")
        wait_for_more_rows(mariadb)
    source = contents(mariadb, "shop")

    for backup in (full, incremental):
        target = tmp_path / backup["id"]
        position = agent.restore(backup["id"], target)["binlog"]
        assert gtid_at(mariadb, position) == position["gtid"]
        with serving(target, extra_options=["skip-log-bin"]) as restored:
            assert broken_tables(restored) == []
            assert total_amount(restored, "shop.one", "shop.other") == 2 * ACCOUNTS * BALANCE
            for table in TABLES:
                assert gaps(restored, table) == []
            assert contents(restored, "shop") != source
            replay(mariadb, restored, position)
            assert contents(restored, "shop") == source


def wait_for_more_rows(server: PrivateMariaDB) -> None:
    """Every writer gets somewhere, before the backup as well as after it."""

    def written() -> dict[Any, int]:
        return {
            (table, writer): number
            for table in TABLES
            for writer, number in server.query(f"SELECT writer, MAX(number) FROM {table} GROUP BY writer")
        }

    before = written()
    until(
        lambda: len(now := written()) == WRITERS + 2 and all(now[key] > before.get(key, 0) + 20 for key in now),
        "more rows of every writer",
    )


def gtid_at(server: PrivateMariaDB, position: dict[str, Any]) -> str:
    ((gtid,),) = server.query("SELECT BINLOG_GTID_POS(%s, %s)", (position["file"], position["position"]))
    return str(gtid)


def replay(source: PrivateMariaDB, target: PrivateMariaDB, position: dict[str, Any]) -> None:
    """Applies the binary log from the position on, statement by statement: a row that is there already is an error."""
    logs = [str(row[0]) for row in source.query("SHOW BINARY LOGS")]
    files = [str(source.datadir / name) for name in logs[logs.index(position["file"]) :]]
    read = ["mariadb-binlog", "--no-defaults", f"--start-position={position['position']}", *files]
    apply = ["mariadb", "--no-defaults", f"--socket={target.socket}", "--user=root"]
    with subprocess.Popen(read, stdout=subprocess.PIPE) as reading:
        applied = subprocess.run(apply, stdin=reading.stdout, capture_output=True, text=True, timeout=120, check=False)
    assert (applied.returncode, applied.stderr, reading.returncode) == (0, "", 0)

"""Fills the server: by sysbench, or by SQL of the same shape where sysbench is not installed.

Rows are sysbench's: an integer, an indexed integer, and two texts of random digits. zstd -1 makes about a third of the
files, as of those of many real tables.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Final

from tests.servers.mariadb import PrivateMariaDB

INNODB: Final = "bench_innodb"
MYISAM: Final = "bench_myisam"
LOAD: Final = "bench_load"
"""Small tables for what writes while backups are taken."""
TABLES: Final = 4
LOAD_ROWS: Final = 10_000
_SEED = 1
_BATCH_ROWS = 50_000
_FILL_SECONDS = 7200
_INNODB_ROW_BYTES = 270
"""On disk, the share of the index included; seen with a million rows of sysbench."""
_MYISAM_ROW_BYTES = 752

Filler = Callable[[PrivateMariaDB, int, int], None]
"""Fills a server with so many bytes of InnoDB and of MyISAM."""


def fillers() -> dict[str, Filler]:
    """By name, those that can be had here, the best one first."""
    found: dict[str, Filler] = {}
    if shutil.which("sysbench"):
        found["sysbench"] = by_sysbench
    return {**found, "sql": by_sql}


def sysbench(server: PrivateMariaDB, database: str, *options: str) -> list[str]:
    """The command line on one of our databases."""
    return [
        "sysbench",
        "oltp_read_write",
        "--db-driver=mysql",
        f"--mysql-socket={server.socket}",
        "--mysql-user=root",
        f"--mysql-db={database}",
        f"--rand-seed={_SEED}",
        *options,
    ]


def _plan(innodb: int, myisam: int) -> Iterator[tuple[str, str, int, int]]:
    """Database, engine, tables and rows of each."""
    yield INNODB, "InnoDB", TABLES, innodb // TABLES // _INNODB_ROW_BYTES
    yield MYISAM, "MyISAM", 1, myisam // _MYISAM_ROW_BYTES
    yield LOAD, "InnoDB", 1, LOAD_ROWS


def by_sysbench(server: PrivateMariaDB, innodb: int, myisam: int) -> None:
    for database, engine, tables, rows in _plan(innodb, myisam):
        server.execute(f"CREATE DATABASE {database}")
        shape = [f"--mysql-storage-engine={engine}", f"--tables={tables}", f"--table-size={rows}", "--threads=2"]
        done = subprocess.run(
            [*sysbench(server, database, *shape), "prepare"],
            capture_output=True,
            text=True,
            timeout=_FILL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"sysbench could not fill {database}:\n{done.stdout}{done.stderr}")
    _finish(server)


def by_sql(server: PrivateMariaDB, innodb: int, myisam: int) -> None:
    for database, engine, tables, rows in _plan(innodb, myisam):
        server.execute(f"CREATE DATABASE {database}")
        for number in range(1, tables + 1):
            table = f"{database}.sbtest{number}"
            server.execute(
                f"CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL DEFAULT 0,"
                " c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '',"
                f" KEY k_{number} (k)) ENGINE={engine}",
                f"SET @@rand_seed1 = {_SEED}, @@rand_seed2 = {number}",
                *(
                    f"INSERT INTO {table} (k, c, pad) SELECT 1 + FLOOR(RAND() * {rows}), {_digits(10)}, {_digits(5)}"
                    f" FROM mysql.seq_{first}_to_{min(first + _BATCH_ROWS - 1, rows)}"
                    for first in range(1, rows + 1, _BATCH_ROWS)
                ),
            )
    _finish(server)


def _digits(groups: int) -> str:
    return f"CONCAT_WS('-', {', '.join(['LPAD(FLOOR(RAND() * 1e11), 11, 0)'] * groups)})"


def _finish(server: PrivateMariaDB) -> None:
    server.execute(
        *(
            f"CREATE TABLE {LOAD}.ticks_{engine.lower()}"
            f" (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME(6)) ENGINE={engine}"
            for engine in ("InnoDB", "MyISAM")
        ),
        f"ANALYZE TABLE {', '.join(f'{INNODB}.sbtest{number}' for number in range(1, TABLES + 1))}",
    )

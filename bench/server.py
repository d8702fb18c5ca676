"""The database under test: one private MariaDB with normal durability, filled once, and read by every contender.

Sizes are in bytes. InnoDB makes up nearly all of it; a MyISAM table of a twentieth shows what locks do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.fill import INNODB, MYISAM, Filler
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

MB = 1_000_000
_MYISAM_SHARE = 20
_MYISAM_BYTES = (32 * MB, 190 * MB)
_BUFFER_POOL_MIB = (128, 4096)
_REDO_MIB = (96, 1024)
_SETTLE_SECONDS = 600.0
_FLUSHING = (
    "SET GLOBAL innodb_max_dirty_pages_pct = {0}, GLOBAL innodb_io_capacity_max = {2}, GLOBAL innodb_io_capacity = {1}"
)
_HASTE = 20_000
"""Pages a second that may be flushed while nobody measures."""


@dataclass(frozen=True, slots=True)
class Sizes:
    innodb: int
    myisam: int

    @classmethod
    def of(cls, total: int) -> Sizes:
        least, most = _MYISAM_BYTES
        myisam = min(max(total // _MYISAM_SHARE, least), most, total // 2)
        return cls(total - myisam, myisam)


def durable(total: int) -> dict[str, str | int]:
    """`[mysqld]` options that undo the haste of the tests' servers; buffer pool and redo log suit the size."""
    mib = total >> 20
    memory = psutil.virtual_memory().total >> 22
    return {
        "innodb-flush-log-at-trx-commit": 1,
        "innodb-flush-method": "O_DIRECT",
        "debug-no-sync": 0,
        "innodb-buffer-pool-size": f"{_within(mib // 4, (_BUFFER_POOL_MIB[0], min(_BUFFER_POOL_MIB[1], memory)))}M",
        "innodb-log-file-size": f"{_within(mib // 8, _REDO_MIB)}M",
        "aria-pagecache-buffer-size": "128M",
        "key-buffer-size": "128M",
        "performance-schema": "OFF",
    }


def _within(value: int, bounds: tuple[int, int]) -> int:
    return min(max(value, bounds[0]), max(bounds))


def fill(base: Path, total: int, filler: Filler) -> None:
    """Makes the data below `base` and stops the server cleanly. Hasty: nobody measures this."""
    sizes = Sizes.of(total)
    with PrivateMariaDB(
        base,
        extra_options={
            **durable(total),
            "innodb-flush-method": "nosync",
            "debug-no-sync": 1,
            "innodb-flush-log-at-trx-commit": 2,
            "skip-log-bin": "",
        },
    ) as server:
        create_agent_user(server)
        filler(server, sizes.innodb, sizes.myisam)


def serve(base: Path, total: int, datadir: Path) -> PrivateMariaDB:
    """A server on `datadir` as its users would run it; the caller starts and stops it."""
    return PrivateMariaDB(base, datadir=datadir, extra_options=durable(total))


def settle(server: PrivateMariaDB) -> None:
    """Flushes what is dirty, so that each contender finds the same short redo log. Raises TimeoutError."""
    (row,) = server.query("SELECT @@innodb_max_dirty_pages_pct, @@innodb_io_capacity, @@innodb_io_capacity_max")
    server.execute(_FLUSHING.format(0, _HASTE, _HASTE))
    deadline = time.monotonic() + _SETTLE_SECONDS
    while int(_status(server, "Innodb_buffer_pool_pages_dirty")) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError("InnoDB has not flushed its pages")
        time.sleep(0.05)
    server.execute(_FLUSHING.format(*row))


def transactions(server: PrivateMariaDB) -> int:
    """Committed so far by the light load: nobody else here says COMMIT."""
    return int(_status(server, "Com_commit"))


def lsn(server: PrivateMariaDB) -> int:
    return int(_status(server, "Innodb_lsn_current"))


def _status(server: PrivateMariaDB, name: str) -> str:
    return str(server.query("SHOW GLOBAL STATUS LIKE %s", (name,))[0][1])


def change_pages(server: PrivateMariaDB, share: float) -> int:
    """Updates one row in about every `1 / share`-th InnoDB page; how many rows were changed."""
    changed = 0
    for table, rows, size in server.query(
        "SELECT TABLE_NAME, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (INNODB,)
    ):
        every = max(1, round(rows / (size / 16384) / share))
        with server.connect() as connection, connection.cursor() as cursor:
            changed += cursor.execute(f"UPDATE {INNODB}.{table} SET pad = REVERSE(pad) WHERE id % {every} = 0")
    return changed


def data_bytes(server: PrivateMariaDB) -> dict[str, int]:
    """What the tables take, by engine's database."""
    return {
        name: int(size)
        for name, size in server.query(
            "SELECT TABLE_SCHEMA, SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA IN %s GROUP BY 1",
            ((INNODB, MYISAM),),
        )
    }

"""Load on a server while backups are taken: writers whose rows tell what is missing, and a storm of DDL.

Knows nothing of backups. Every choice comes from a seed; how the threads interleave does not.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import pymysql
from pymysql.connections import Connection
from pymysql.constants import ER

from tests.servers.mariadb import PrivateMariaDB

Worker = Callable[["Connection[Any]", threading.Event], None]
"""Works on a connection of its own until the event is set."""

ACCOUNTS: Final = 20
BALANCE: Final = 1000
"""Of each account at the start."""


class Load:
    """Each worker in a thread and on a connection of its own while the context lasts; the first error is raised then.

    A worker that ends early with an error does not end the others.
    """

    def __init__(self, server: PrivateMariaDB, *workers: Worker) -> None:
        self._server = server
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(worker,), name="load") for worker in workers]

    def stop(self) -> None:
        """Returns when every statement has ended; idempotent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, worker: Worker) -> None:
        try:
            with self._server.connect() as connection:
                worker(connection, self._stop)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that stops the load
            self._errors.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def numbered_rows(table: str, writer: int, *, pause: float = 0.0) -> Worker:
    """Inserts the rows 1, 2, 3, ... of `writer`, one a transaction: what was committed is a prefix of them.

    Pauses for `pause` seconds after each.
    """

    def work(connection: Connection[Any], stop: threading.Event) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT COALESCE(MAX(number), 0) FROM {table} WHERE writer = {writer}")
            number = int(cursor.fetchall()[0][0])
            while not stop.is_set():
                number += 1
                cursor.execute(f"INSERT INTO {table} VALUES ({writer}, {number}, REPEAT('x', {number % 200}))")
                stop.wait(pause)

    return work


def create_numbered_rows(table: str, options: str) -> str:
    return (
        f"CREATE TABLE {table} (writer INT, number INT, payload VARCHAR(200), PRIMARY KEY (writer, number)) {options}"
    )


def gaps(server: PrivateMariaDB, table: str) -> list[tuple[Any, ...]]:
    """The writers whose rows are no unbroken sequence from 1."""
    return server.query(
        f"SELECT writer, MAX(number), COUNT(*) FROM {table} GROUP BY writer HAVING MAX(number) <> COUNT(*)"
    )


def transfers(one: str, other: str, seed: int) -> Worker:
    """Moves amounts between accounts of two tables; the sum over both never changes in any committed state."""

    def work(connection: Connection[Any], stop: threading.Event) -> None:
        chance = random.Random(seed)
        with connection.cursor() as cursor:
            while not stop.is_set():
                source, sink = chance.sample((one, other), 2)
                amount = chance.randrange(1, 10)
                try:
                    cursor.execute("BEGIN")
                    for table, change in ((source, -amount), (sink, amount)):
                        account = chance.randrange(ACCOUNTS)
                        cursor.execute(f"UPDATE {table} SET amount = amount + {change} WHERE account = {account}")
                    cursor.execute("COMMIT")
                except pymysql.err.OperationalError as error:
                    if error.args[0] not in {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT}:
                        raise
                    cursor.execute("ROLLBACK")

    return work


def create_accounts(table: str) -> list[str]:
    return [
        f"CREATE TABLE {table} (account INT PRIMARY KEY, amount INT NOT NULL, KEY (amount)) ENGINE=InnoDB",
        f"INSERT INTO {table} SELECT seq, {BALANCE} FROM mysql.seq_0_to_{ACCOUNTS - 1}",
    ]


def total_amount(server: PrivateMariaDB, one: str, other: str) -> int:
    """What `transfers` leaves alone: `2 * ACCOUNTS * BALANCE`."""
    (row,) = server.query(f"SELECT (SELECT SUM(amount) FROM {one}) + (SELECT SUM(amount) FROM {other})")
    return int(row[0])


class Storm:
    """DDL at random on a few tables that all workers share, so that they rename and drop under each other's feet."""

    INNODB: Final = (
        "ENGINE=InnoDB",
        "ENGINE=InnoDB ROW_FORMAT=COMPRESSED",
        "ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3",
    )
    OPTIONS: Final = (
        *INNODB,
        "ENGINE=MyISAM",
        "ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 2",
        "ENGINE=Aria TRANSACTIONAL=1",
        "ENGINE=Aria TRANSACTIONAL=0",
    )

    def __init__(self, names: int = 8) -> None:
        self._tables = [f"storm.t{number}" for number in range(names)]
        self.done: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()

    def create(self, server: PrivateMariaDB) -> None:
        server.execute("CREATE DATABASE storm")
        for number, table in enumerate(self._tables):
            options = self.OPTIONS[number % len(self.OPTIONS)]
            server.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b VARCHAR(100)) {options}")

    def worker(self, seed: int, options: Sequence[str] = OPTIONS, *, pause: float = 0.0) -> Worker:
        """Makes tables with one of `options`; pauses after each few statements, for up to `pause` seconds."""

        def work(connection: Connection[Any], stop: threading.Event) -> None:
            chance = random.Random(seed)
            with connection.cursor() as cursor:
                cursor.execute("SET lock_wait_timeout = 5, innodb_lock_wait_timeout = 5")
                while not stop.is_set():
                    for statement in self._statements(chance, options):
                        self._try(cursor, statement)
                    stop.wait(chance.random() * pause)

        return work

    def _try(self, cursor: Any, statement: str) -> None:
        try:
            cursor.execute(statement)
        except pymysql.err.MySQLError as error:
            # Statements race on purpose, so that the server may refuse any of them; it must not go away.
            if not cursor.connection.open:
                raise
            self.refused[error.args[0]] += 1
        else:
            self.done[statement.split(maxsplit=1)[0]] += 1

    def _statements(self, chance: random.Random, choices: Sequence[str]) -> list[str]:
        table, other = chance.sample(self._tables, 2)
        extra = chance.randrange(100)
        options = chance.choice(choices)
        rows = f"INSERT INTO {table} (id, a, b) SELECT seq, seq % 7, REPEAT('b', 90) FROM mysql.seq_1_to_300"
        create = f"(id INT PRIMARY KEY, a INT, b VARCHAR(100)) {options}"
        plain = options.partition(" PARTITION")[0]
        return chance.choice(
            [
                [f"CREATE TABLE {table} {create}", rows],
                [f"CREATE OR REPLACE TABLE {table} {create}", rows],
                [f"CREATE TABLE {table} LIKE {other}", rows],
                [f"CREATE OR REPLACE TABLE {table} (id INT PRIMARY KEY) {plain} SELECT id, a, b FROM {other}"],
                [f"ALTER TABLE {table} ADD COLUMN c{extra} INT, ALGORITHM=INPLACE"],
                [f"ALTER TABLE {table} ADD COLUMN c{extra} INT DEFAULT 1, ALGORITHM=COPY"],
                [f"ALTER TABLE {table} ADD COLUMN c{extra} INT FIRST"],
                [f"ALTER TABLE {table} ADD INDEX i{extra % 3} (a)", f"ALTER TABLE {table} DROP INDEX i{extra % 3}"],
                [f"ALTER TABLE {table} ADD INDEX j{extra % 3} (b), ALGORITHM=INPLACE"],
                [f"ALTER TABLE {table} DROP INDEX j{extra % 3}"],
                [f"ALTER TABLE {table} FORCE"],
                [f"ALTER TABLE {table} {plain}"],
                [f"ALTER TABLE {table} {plain}", rows],
                [f"RENAME TABLE {table} TO {other}"],
                [f"RENAME TABLE {table} TO storm.s{extra}, {other} TO {table}, storm.s{extra} TO {other}"],
                [f"ALTER TABLE {table} RENAME TO {other}"],
                [f"DROP TABLE {table}"],
                [f"DROP TABLE {table}", f"CREATE TABLE {table} {create}", rows],
                [f"TRUNCATE TABLE {table}", rows],
                [f"OPTIMIZE TABLE {table}"],
                [rows, f"DELETE FROM {table} WHERE id % 3 = 0", f"UPDATE {table} SET a = a + 1"],
                [f"CREATE DATABASE storm_{extra % 2}", f"CREATE TABLE storm_{extra % 2}.t {create}"],
                [f"DROP DATABASE storm_{extra % 2}"],
            ]
        )

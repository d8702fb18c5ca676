"""A web shop's database: InnoDB, MyISAM and Aria tables that look real, and a writer that goes on selling."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import pymysql

from tests.servers.mariadb import PrivateMariaDB

DATABASE = "shop"

_TABLES = (
    """CREATE TABLE shop.customers (
        id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL, email VARCHAR(120) NOT NULL UNIQUE,
        city VARCHAR(40) NOT NULL, since DATE NOT NULL, KEY (city)) ENGINE=InnoDB""",
    """CREATE TABLE shop.orders (
        id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, customer_id INT UNSIGNED NOT NULL, placed DATETIME NOT NULL,
        total DECIMAL(10,2) NOT NULL, note VARCHAR(200), KEY (customer_id), KEY (placed),
        FOREIGN KEY (customer_id) REFERENCES shop.customers (id)) ENGINE=InnoDB""",
    """CREATE TABLE shop.page_views (
        id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, path VARCHAR(120) NOT NULL, at DATETIME NOT NULL,
        KEY (at)) ENGINE=MyISAM""",
    """CREATE TABLE shop.sessions (
        token CHAR(32) PRIMARY KEY, customer_id INT UNSIGNED NOT NULL, data VARCHAR(200) NOT NULL)
        ENGINE=Aria TRANSACTIONAL=1""",
    """CREATE TABLE shop.search_cache (
        phrase VARCHAR(80) PRIMARY KEY, hits INT NOT NULL, data VARCHAR(200) NOT NULL)
        ENGINE=Aria TRANSACTIONAL=0""",
)
_CITIES = "'Aarhus', 'Bern', 'Cork', 'Delft', 'Espoo', 'Faro', 'Gent', 'Hamburg'"


def fill(server: PrivateMariaDB, scale: int) -> None:
    """About 35 MB of data for each unit of `scale`."""
    customers, orders, views = 20_000 * scale, 80_000 * scale, 60_000 * scale
    server.execute(
        "CREATE DATABASE shop",
        *_TABLES,
        f"""INSERT INTO shop.customers (name, email, city, since)
            SELECT CONCAT(ELT(1 + seq % 5, 'Ada', 'Bo', 'Chen', 'Dora', 'Emil'), ' ', UPPER(LEFT(SHA1(seq), 8))),
                   CONCAT('c', seq, '@example.org'), ELT(1 + seq % 8, {_CITIES}),
                   '2019-01-01' + INTERVAL seq % 2400 DAY FROM mysql.seq_1_to_{customers}""",
        f"""INSERT INTO shop.orders (customer_id, placed, total, note)
            SELECT 1 + (seq * 7919) % {customers}, '2024-01-01' + INTERVAL seq MINUTE, (seq * 37 % 90000) / 100,
                   CONCAT(SHA2(seq, 256), SHA2(seq + 1, 256)) FROM mysql.seq_1_to_{orders}""",
        f"""INSERT INTO shop.page_views (path, at)
            SELECT CONCAT('/product/', SHA1(seq)), '2026-01-01' + INTERVAL seq SECOND FROM mysql.seq_1_to_{views}""",
        f"""INSERT INTO shop.sessions
            SELECT MD5(seq), seq, SHA2(seq, 512) FROM mysql.seq_1_to_{10_000 * scale}""",
        f"""INSERT INTO shop.search_cache
            SELECT CONCAT('phrase ', seq), seq % 97, SHA2(seq, 512) FROM mysql.seq_1_to_{10_000 * scale}""",
    )


class Sales:
    """Customers who go on buying, in every kind of table, until the context is left."""

    def __init__(self, server: PrivateMariaDB, start: int) -> None:
        """`start` makes this period's keys different from those of other periods."""
        self._server = server
        self._number = start
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._sell, name="sales")
        self._failure: pymysql.MySQLError | None = None
        self.count = 0

    def wait_for(self, count: int) -> None:
        """Until so many sales were made. Raises RuntimeError when the writer failed before."""
        with self._progress:
            self._progress.wait_for(lambda: self.count >= count or self._failure is not None)
        if self._failure is not None:
            raise RuntimeError("the demo's writer failed") from self._failure

    def _sell(self) -> None:
        try:
            with self._server.connect(database=DATABASE) as connection, connection.cursor() as cursor:
                while not self._stop.is_set():
                    self._number += 1
                    number = self._number
                    cursor.execute(
                        "INSERT INTO orders (customer_id, placed, total, note)"
                        " VALUES (1 + %s %% 1000, NOW(), %s / 100, 'sold during a backup')",
                        (number, number % 90_000),
                    )
                    cursor.execute("UPDATE customers SET since = CURDATE() WHERE id = 1 + %s %% 1000", (number,))
                    cursor.execute("INSERT INTO page_views (path, at) VALUES (%s, NOW())", (f"/checkout/{number}",))
                    cursor.execute("INSERT INTO sessions VALUES (MD5(%s), %s, 'live')", (f"live {number}", number))
                    cursor.execute("INSERT INTO search_cache VALUES (%s, 1, 'live')", (f"live {number}",))
                    with self._progress:
                        self.count += 1
                        self._progress.notify()
        except pymysql.MySQLError as error:
            with self._progress:
                self._failure = error
                self._progress.notify()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the demo's writer failed") from self._failure

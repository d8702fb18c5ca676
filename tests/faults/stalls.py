"""Statements that make a backup wait at a known place, for as long as a test needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pymysql
from pymysql.cursors import Cursor

from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

_LONG = "UPDATE shop.notes SET what = what WHERE id = 1 AND SLEEP(600) = 0"


@contextmanager
def notes_are_written(server: PrivateMariaDB) -> Iterator[Callable[[], None]]:
    """One statement writes the MyISAM table until the yielded function is called, or the context is left.

    BACKUP STAGE FLUSH waits for its end, holding back other writers: by then all InnoDB tables have been streamed.
    """
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchall()[0]
        thread = threading.Thread(target=_write, args=(cursor,), name="stall")
        thread.start()

        def release() -> None:
            if server.running:
                with suppress(pymysql.err.MySQLError):  # it has ended already
                    server.execute(f"KILL {number}")
            thread.join()

        try:
            until(lambda: _is_executing(server), "the long statement")
            yield release
        finally:
            release()


def _write(cursor: Cursor) -> None:
    with suppress(pymysql.err.MySQLError):  # its end is a kill
        cursor.execute(_LONG)


def _is_executing(server: PrivateMariaDB) -> bool:
    return bool(server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE info = %s", (_LONG,)))

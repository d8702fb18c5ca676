"""What SQLite needs: a log of its own for writers, and a way for these to wait for each other. Knows no table."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

WRITING = "backup_agent_writing"
"""The option of a connection whose transaction is to write."""
_BUSY_S = 20.0
"""How long one waits for another writer."""
_LOOK_S = 0.002
_BUSY = 5


def engine(url: URL, pool_size: int) -> Engine:
    """Of the file that `url` names."""
    made = create_engine(
        url, poolclass=QueuePool, pool_size=pool_size, max_overflow=0, connect_args={"timeout": _BUSY_S}
    )

    @event.listens_for(made, "connect")
    def set_up(raw: sqlite3.Connection, _: object) -> None:
        raw.isolation_level = None  # the driver's own BEGIN would come late: two readers could not both become writers
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            raw.execute(f"PRAGMA {setting}")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITING):
            _begin_to_write(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return made


def _begin_to_write(connection: Connection) -> None:
    """Looks every 2 ms whether another process has ended its writing. SQLite itself looks less and less often: beside
    one that writes most of the time, one in a hundred then waits for a quarter of a second and more, not for 30 ms.
    """
    raw: Any = connection.connection.dbapi_connection
    until = time.monotonic() + _BUSY_S
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < until:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    break
                time.sleep(_LOOK_S)
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # for the error, as the caller expects it
    finally:
        raw.execute(f"PRAGMA busy_timeout = {round(_BUSY_S * 1000)}")


def is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == _BUSY

"""The connection to the catalogue's database: SQLite, PostgreSQL or MariaDB, by URL. Knows no table.

A write is a function that is called with a connection in a transaction; when the database asks for it (a deadlock, a
lock that was not had in time) it is called again, so it must have no other effects.
"""

from __future__ import annotations

import math
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InvalidatePoolError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from backup_agent.api.catalogue import sqlite
from backup_agent.errors import CatalogueError, ConfigError, ErrorCode

T = TypeVar("T")

_TRIES = 8
_PAUSE_S = 0.02
_CONNECT_S = 5
_REST_S = 1.0
_SINCE = "backup_agent_since"
_HINT = "Check database.url, that the database runs, and the rights of its user."
_AGAIN = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available
_AGAIN_MARIADB = (1205, 1213)  # lock wait timeout, deadlock


class Database:
    """Safe from any thread; not across a fork: each process opens its own."""

    def __init__(self, url: str, *, password: str | None = None, pool_size: int = 10) -> None:
        """Connects to nothing yet. Raises ConfigError (`config_invalid`) for a URL that can't be used."""
        self._engine = _engine(parse_url(url, password), pool_size)
        self._reader = self._engine
        if self._engine.dialect.name == "postgresql":
            # Each statement sees a state of its own there in any case; a transaction would cost two messages more.
            self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer at a time; the others would look every now and then, and some would never find it free.
        self._one_by_one: AbstractContextManager[object] = (
            threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        )

    @property
    def engine(self) -> Engine:
        """For migrations."""
        return self._engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Each statement sees one state of things; with SQLite, all of them the same. Raises CatalogueError
        (`catalogue_unusable`).
        """
        with translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T], *, again_if_not_unique: bool = False) -> T:
        """What `work` returns, when that is committed. Raises what it raises, and nothing is changed then;
        CatalogueError; and IntegrityError for what is not unique, unless it is to be tried again for that too.
        """
        for left in range(_TRIES, 0, -1):
            try:
                with self._one_by_one, translated(), self._engine.connect() as connection:
                    connection = connection.execution_options(**{sqlite.WRITING: True})  # noqa: PLW2901 - the same one
                    with connection.begin():
                        return work(connection)
            except IntegrityError:
                if not again_if_not_unique or left == 1:
                    raise
            except CatalogueError as error:
                if left == 1 or not _passes(error.__cause__):
                    raise
            time.sleep(_PAUSE_S * random.random() * (_TRIES - left + 1))  # noqa: S311 - no secret
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def close(self) -> None:
        self._engine.dispose()


def parse_url(text: str, password: str | None) -> URL:
    """Raises ConfigError (`config_invalid`), never with the URL: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _bad_url("database.url can't be read") from None
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
    kind = url.get_backend_name()
    if kind not in drivers:
        raise _bad_url(f"database.url is of the kind {kind!r}")
    if url.get_driver_name() not in ("pysqlite", "psycopg", "pymysql"):
        url = url.set(drivername=drivers[kind])
    if password is not None and kind != "sqlite":
        url = url.set(password=password)
    return url


def sqlite_file(url: URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


@contextmanager
def translated() -> Iterator[None]:
    """The database's errors as ours, but for IntegrityError, which is an answer."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise CatalogueError(
            ErrorCode.CATALOGUE_UNUSABLE, f"the catalogue can't be used: {_reason(error)}", _HINT
        ) from error


def _reason(error: SQLAlchemyError) -> str:
    """Without the statement and its parameters."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(said).split())[:300] or type(said).__name__


def _passes(error: BaseException | None) -> bool:
    """Whether the same transaction, tried again at once, may well be carried out."""
    origin: Any = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(origin, sqlite3.OperationalError):
        return sqlite.is_busy(origin)
    if getattr(origin, "sqlstate", None) in _AGAIN:
        return True
    arguments: tuple[Any, ...] = getattr(origin, "args", ())
    return bool(arguments) and arguments[0] in _AGAIN_MARIADB


def _engine(url: URL, pool_size: int) -> Engine:
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise _bad_url("database.url names no file")
        return sqlite.engine(url, pool_size)
    if url.get_driver_name() == "pymysql":
        arguments: dict[str, Any] = {"connect_timeout": _CONNECT_S, "charset": "utf8mb4", "read_timeout": 60}
    else:
        arguments = {"connect_timeout": _CONNECT_S, "application_name": "backup-agent api"}
    try:
        engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_recycle=1800,
            isolation_level="READ COMMITTED",
            connect_args=arguments,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"the driver for database.url is not installed: {error}",
            "Install the extra for it: pip install 'backup-agent[api,postgresql]'.",
        ) from error
    _ask_after_a_rest(engine)
    return engine


def _ask_after_a_rest(engine: Engine) -> None:
    """A connection that was not used for a while may be gone: before it is used it is tried, and if need be replaced.
    To try it each time, as SQLAlchemy would, is a message more for each use.
    """

    @event.listens_for(engine, "checkin")
    def rest(_: object, record: ConnectionPoolEntry) -> None:
        record.info[_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(raw: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - record.info.get(_SINCE, math.inf) < _REST_S:
            return
        try:
            engine.dialect.do_ping(raw)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _bad_url(what: str) -> ConfigError:
    return ConfigError(
        ErrorCode.CONFIG_INVALID,
        what,
        "Set it to sqlite:////path/to/file, postgresql+psycopg://... or mariadb+pymysql://...",
    )

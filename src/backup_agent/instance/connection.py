"""One short connection to the server: opened for a question or a few, bounded in time, closed at once.

PyMySQL's and the operating system's errors become InstanceError here. Nothing here knows what is asked.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR, ER
from pymysql.cursors import DictCursor

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.grants import account_literal, create_user_statements, grant_statements

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""SHOW MASTER STATUS waits for a binary log being synced; on a busy disk that takes seconds."""

_UNREACHABLE = frozenset(
    {CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.CON_COUNT_ERROR}
)
_DENIED = frozenset(
    {
        ER.ACCESS_DENIED_ERROR,
        1698,  # access denied without a password; the constants lack it
        ER.DBACCESS_DENIED_ERROR,
        ER.HOST_NOT_PRIVILEGED,
        ER.HOST_IS_BLOCKED,
        1820,  # the password must be changed first
        1862,  # the password has expired
        4151,  # the account is locked
        CR.CR_AUTH_PLUGIN_CANNOT_LOAD,
        CR.CR_AUTH_PLUGIN_ERR,
    }
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server listens and who asks. With a `socket`, host and port are not used."""

    socket: Path | None
    host: str = "localhost"
    port: int = 3306
    user: str = "backup_agent"
    password: str | None = field(default=None, repr=False)
    """None for unix_socket authentication."""
    section: str = "instance"
    """Of the configuration, where the user stands."""

    @property
    def place(self) -> str:
        return f"the socket {self.socket}" if self.socket else f"{self.host}:{self.port}"


if TYPE_CHECKING:
    _AnyConnection = Connection[Any]
else:
    _AnyConnection = Connection  # generic in its type stubs only


class _SocketConnection(_AnyConnection):
    """A Unix socket needs no TLS to be secure; PyMySQL sees that only when it makes the socket itself."""

    _secure = True


class Session:
    """A connection as a context manager. Not shared between threads.

    Every call raises InstanceError: `database_unreachable`, `database_denied`, `grant_missing`.
    """

    def __init__(self, endpoint: Endpoint, *, answer_within: float | None = ANSWER_SECONDS) -> None:
        """None for questions whose answers may take any time."""
        self._endpoint = endpoint
        self._answer_within = answer_within
        self._account = account_literal(endpoint.user, "localhost")

    def __enter__(self) -> Self:
        with self._translated():
            # Dialled here because PyMySQL leaves the socket of a refused connection open.
            dialled = self._dial()
            try:
                self.on_this_host = _stays_on_host(dialled)
                self._connection = self._log_in(dialled)
            except BaseException:
                dialled.close()
                raise
        try:
            user, _, host = str(self.rows("SELECT CURRENT_USER()")[0][0]).rpartition("@")
        except BaseException:
            self._close()
            raise
        self._account = account_literal(user, host)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Rows by column name, for the SHOW statements whose columns differ between versions."""
        with self._translated(), self._connection.cursor(DictCursor) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _close(self) -> None:
        if self._connection.open:  # a lost connection is closed already
            self._connection.close()

    def _log_in(self, dialled: socket.socket) -> Connection[Any]:
        kind = _SocketConnection if self._endpoint.socket else _AnyConnection
        connection = kind(
            user=self._endpoint.user,
            password=self._endpoint.password or "",
            charset="utf8mb4",
            local_infile=False,
            autocommit=True,
            read_timeout=self._answer_within,
            write_timeout=ANSWER_SECONDS,
            defer_connect=True,
            # Otherwise PyMySQL makes a TLS context for each connection, which takes some 20 ms of CPU.
            ssl_disabled=self._endpoint.socket is not None,
        )
        connection.connect(dialled)
        return connection

    def _dial(self) -> socket.socket:
        endpoint = self._endpoint
        if endpoint.socket is None:
            dialled = socket.create_connection((endpoint.host, endpoint.port), CONNECT_SECONDS)
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return dialled
        dialled = socket.socket(socket.AF_UNIX)
        try:
            dialled.settimeout(CONNECT_SECONDS)
            dialled.connect(str(endpoint.socket))
        except BaseException:
            dialled.close()
            raise
        return dialled

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        except pymysql.err.MySQLError as error:
            raise self._explain(error) from error
        except RuntimeError as error:
            # PyMySQL's word for an authentication plugin that needs a Python package we do not bring.
            raise self._denied(str(error)) from error

    def _explain(self, error: pymysql.err.MySQLError) -> InstanceError:
        code = error.args[0] if error.args else 0
        text = str(error.args[1]) if len(error.args) > 1 else str(error)
        if code in _DENIED:
            return self._denied(text)
        if code == ER.SPECIFIC_ACCESS_DENIED_ERROR:
            return self._lacks(_privilege(text))
        if code in _UNREACHABLE:
            return self._unreachable(text)
        return InstanceError(
            ErrorCode.DATABASE_UNREACHABLE,
            f"the server at {self._endpoint.place} answered with error {code}: {text}",
            "Look into the server's error log.",
        )

    def _unreachable(self, text: str) -> InstanceError:
        keys = "instance.socket" if self._endpoint.socket else "instance.host and instance.port"
        return InstanceError(
            ErrorCode.DATABASE_UNREACHABLE,
            f"the server at {self._endpoint.place} can't be reached: {text}",
            f"See that the server runs (systemctl status mariadb) and that {keys} in the configuration name its place.",
        )

    def _denied(self, text: str) -> InstanceError:
        return InstanceError(
            ErrorCode.DATABASE_DENIED,
            f"the server at {self._endpoint.place} refused the user {self._endpoint.user}: {text}",
            self._hint_for_login(),
        )

    def _hint_for_login(self) -> str:
        section = self._endpoint.section
        if section != "instance":
            return f"Check {section}.user and its password; docs/{section}.md has more."
        if self._endpoint.password is None:
            return (
                "Set instance.password; or, for unix_socket authentication, let instance.user be the system's user that"
                " the agent runs as, made in the database by CREATE USER ... IDENTIFIED VIA unix_socket."
            )
        statements = "; ".join(create_user_statements(self._endpoint.user, "..."))
        return f"Check instance.user and instance.password, or make the user, as administrator: {statements};"

    def _lacks(self, privilege: str) -> InstanceError:
        return InstanceError(
            ErrorCode.GRANT_MISSING,
            f"the database user {self._account} lacks the privilege {privilege}",
            f"Run as an administrator: {'; '.join(grant_statements((privilege,), self._account))};",
        )


def _privilege(text: str) -> str:
    """`... (at least one of) the SUPER, BINLOG MONITOR privilege(s) for ...` names BINLOG MONITOR; SUPER is more."""
    match = re.search(r"need \(?.*?\)? ?the (.+?) privilege", text)
    names = match[1].split(", ") if match else [text]
    return next((name for name in names if name != "SUPER"), names[0])


def _stays_on_host(connected: socket.socket) -> bool:
    """Whether the other end is this host: then the kernel gives both ends the same address, or a loopback one."""
    if connected.family == socket.AF_UNIX:
        return True
    here, there = connected.getsockname()[0], connected.getpeername()[0]
    return bool(here == there or there.startswith("127.") or there == "::1")

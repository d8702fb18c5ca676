"""A connection for operations on the instance: names in backticks, values as parameters, locks waited for in bounds.

It sets the modes that quoting depends on. What the server refuses becomes the outcome it stands for, or
`statement_failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

import pymysql
from pymysql.constants import ER

from backup_agent.errors import BackupAgentError, ErrorCode, InstanceError, RejectedError
from backup_agent.instance.connection import Endpoint, Session

NOTHING_EXPECTED: Mapping[int, Callable[[], RejectedError]] = MappingProxyType({})
_ANSWER_MORE = 60.0
"""Seconds that a statement may take beyond its wait for locks: a large database's files are removed one by one."""
_BASIC_PLANE = 0xFFFF
_SESSIONS_OWN = frozenset(
    {ER.DBACCESS_DENIED_ERROR, ER.ACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.CON_COUNT_ERROR}
)
"""Refusals that every connection may meet."""
_CLIENT_SAYS = range(2000, 3000)
"""All others are the server's: those below 1000 are of its files, such as a name that is too long for a directory."""


def identifier(name: str) -> str:
    """For SQL that is executed with parameters. Raises ValueError for what the server would make another name of:
    it cuts off spaces, and knows only Unicode's basic plane.
    """
    if not name or name.endswith(" ") or "\0" in name or any(ord(character) > _BASIC_PLANE for character in name):
        msg = "the server's names can't have this"
        raise ValueError(msg)
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


class AdministrationSession(Session):
    """Raises as Session does, and RejectedError."""

    def __init__(self, endpoint: Endpoint, lock_wait: float) -> None:
        """`lock_wait` is how many seconds a statement waits for those who use what it changes."""
        super().__init__(endpoint, answer_within=lock_wait + _ANSWER_MORE)
        self._lock_wait = max(1, round(lock_wait))

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.run("SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
            self.run("SET SESSION lock_wait_timeout = %s", self._lock_wait)
        except BaseException:
            self._close()
            raise
        return self

    def run(
        self, sql: str, *parameters: object, refused: Mapping[int, Callable[[], RejectedError]] = NOTHING_EXPECTED
    ) -> list[tuple[Any, ...]]:
        """`sql` has `%s` for each parameter, and its names by `identifier`. `refused` says what certain errors mean."""
        with self._translated(), self._connection.cursor() as cursor:
            try:
                cursor.execute(sql, parameters)
            except pymysql.err.MySQLError as error:
                told = _meaning(error, [str(one) for one in parameters], refused)
                if told is None:
                    raise
                raise told from error
            return list(cursor.fetchall())


def _meaning(
    error: pymysql.err.MySQLError, parameters: list[str], refused: Mapping[int, Callable[[], RejectedError]]
) -> BackupAgentError | None:
    """None for what Session translates."""
    code = error.args[0] if error.args else 0
    text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    if not isinstance(code, int) or not code or code in _SESSIONS_OWN or code in _CLIENT_SAYS:
        return None
    for parameter in parameters:
        if parameter.startswith("*"):  # a password's hash, which a syntax error would repeat
            text = text.replace(parameter, "...")
    if code in refused:
        return refused[code]()
    return InstanceError(
        ErrorCode.STATEMENT_FAILED,
        f"the server refused a statement with error {code}: {text}",
        "Look into the server's error log; something may use what was to be changed (SHOW PROCESSLIST).",
    )

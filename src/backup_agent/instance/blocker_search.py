"""Asks the server who makes a backup's locks wait, and ends a statement that does. MariaDB only.

A few milliseconds a call; tables and privileges are looked up only when somebody is in the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance import supers
from backup_agent.instance.blockers import (
    Blocker,
    Connection,
    Lock,
    Suspect,
    judge,
    protected_by_kind,
    suspects_by_locks,
    suspects_by_statements,
)
from backup_agent.instance.connection import Session
from backup_agent.instance.grants import account_literal, grant_statements
from backup_agent.instance.statements import TableName
from backup_agent.instance.table_engines import nontransactional

READ_CHARACTERS = 16_000
"""Of each statement: what it writes stands near its beginning; a large INSERT goes on for megabytes."""

_SERVER = """
    SELECT VERSION() LIKE '%MariaDB%' OR @@version_comment LIKE '%MariaDB%', @@lower_case_table_names, COUNT(*)
    FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' AND PLUGIN_STATUS = 'ACTIVE'
"""
_STATEMENTS = "SELECT ID, QUERY_ID, COMMAND FROM information_schema.PROCESSLIST"
_CONNECTIONS = f"""
    SELECT ID, QUERY_ID, USER, HOST, COALESCE(DB, ''), COMMAND, TIME_MS, COALESCE(STATE, ''),
        COALESCE(LEFT(INFO, {READ_CHARACTERS}), ''), USER = SUBSTRING_INDEX(USER(), '@', 1)
    FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()
"""  # noqa: S608 - a constant
_LOCKS = """
    SELECT THREAD_ID, LOCK_MODE, LOCK_TYPE, TABLE_SCHEMA, TABLE_NAME FROM information_schema.METADATA_LOCK_INFO
"""
_STILL_RUNS = """
    SELECT 1 FROM information_schema.PROCESSLIST
    WHERE ID = {blocker.id} AND QUERY_ID = {blocker.query_id} AND COMMAND <> 'Sleep'
"""

_PLAIN = re.compile(r"[A-Za-z0-9_]{1,64}")
_NAME_CHARACTERS = 64

_TABLE_DENIED = frozenset({1142, 1143})
_KILL_DENIED = frozenset({1095, 1979})
_NO_SUCH_QUERY = 1957
_KILLING = "CONNECTION ADMIN"


def find_blockers(session: Session, datadir: Path) -> tuple[Blocker, ...]:
    """Longest first. Empty on MySQL. Raises InstanceError, also `datadir_unreadable`."""
    mariadb, fold, plugin = session.rows(_SERVER)[0]
    if not mariadb:
        return ()
    suspects = _by_locks(session) if plugin else suspects_by_statements(_connections(session), fold=bool(fold))
    tables = {table for suspect in suspects for table in suspect.tables}
    engines = nontransactional(datadir, tables, _file_names(session, tables))
    return judge(suspects, engines, _supers(session, suspects))


def kill_query(session: Session, blocker: Blocker) -> bool:
    """False when the statement has ended by itself. Raises InstanceError: `invalid_request` for a protected blocker,
    `grant_missing`.
    """
    if blocker.protected is not None:
        raise InstanceError(
            ErrorCode.INVALID_REQUEST,
            f"the statement of {blocker} must not be killed: {blocker.protected}",
            f"If it must go, end it as an administrator: KILL {blocker.id}; to have the agent tell who has SUPER: "
            f"{grant_statements((supers.READABLE,), _account(session))[0]};",
        )
    # An idle connection keeps the id of its last statement.
    if not session.rows(_STILL_RUNS.format(blocker=blocker)):
        return False
    try:
        session.rows(f"KILL QUERY ID {blocker.query_id}")
    except InstanceError as error:
        number = _number(error)
        if number == _NO_SUCH_QUERY:
            return False
        if number in _KILL_DENIED:
            raise _lacks_killing(_account(session)) from error
        raise
    return True


def _by_locks(session: Session) -> list[Suspect]:
    """Statements that began or ended while the locks were read are left to the next look."""
    before = {tuple(row) for row in session.rows(_STATEMENTS)}
    locks = [
        Lock(int(connection), str(mode), str(kind), TableName(str(database), str(table)))
        for connection, mode, kind, database, table in session.rows(_LOCKS)
    ]
    lasting = [one for one in _connections(session) if (one.id, one.query_id, one.command) in before]
    return suspects_by_locks(lasting, locks)


def _connections(session: Session) -> list[Connection]:
    return [
        Connection(
            id=int(number),
            query_id=int(query),
            user=str(user),
            host=str(host),
            database=str(database),
            command=str(command),
            age_s=max(float(milliseconds) / 1000, 0.0),
            state=str(state),
            statement=str(statement),
            own=bool(own),
        )
        for number, query, user, host, database, command, milliseconds, state, statement, own in session.rows(
            _CONNECTIONS
        )
    ]


def _file_names(session: Session, tables: Iterable[TableName]) -> dict[str, str]:
    """As the server writes them: it has a character set for that. Names that no table can have are left out."""
    names = {name for table in tables for name in table if 0 < len(name) <= _NAME_CHARACTERS}
    odd = sorted(name for name in names if not _PLAIN.fullmatch(name))
    found = {name: name for name in names.difference(odd)}
    if odd:
        asked = ", ".join(f"CAST(CONVERT(_utf8mb4 0x{name.encode().hex()} USING filename) AS BINARY)" for name in odd)
        found |= {
            name: bytes(file).decode() for name, file in zip(odd, session.rows(f"SELECT {asked}")[0], strict=True)
        }
    return found


def _supers(session: Session, suspects: Iterable[Suspect]) -> dict[str, bool | None]:
    """Of the users that are not protected anyway."""
    users = {
        one.connection.user for one in suspects if not one.connection.idle and not protected_by_kind(one.connection)
    }
    if not users:
        return {}
    accounts = _accounts(session)
    return {user: supers.has_super(user, accounts) for user in users}


def _accounts(session: Session) -> list[supers.Account]:
    """Empty when our user may not know."""
    for sql in supers.ACCOUNTS:
        try:
            rows = session.rows(sql)
        except InstanceError as error:
            if _number(error) not in _TABLE_DENIED:
                raise
        else:
            return [supers.Account(str(user), bool(has_super), bool(role)) for user, has_super, role in rows]
    return []


def _number(error: InstanceError) -> int | None:
    """The server's error number, of what `connection` translated."""
    cause = error.__cause__
    return cause.args[0] if cause is not None and cause.args and isinstance(cause.args[0], int) else None


def _account(session: Session) -> str:
    user, _, host = str(session.rows("SELECT CURRENT_USER()")[0][0]).rpartition("@")
    return account_literal(user, host)


def _lacks_killing(account: str) -> InstanceError:
    return InstanceError(
        ErrorCode.GRANT_MISSING,
        f"the database user {account} lacks the privilege {_KILLING}",
        f"Run as an administrator: {'; '.join(grant_statements((_KILLING,), account))};",
    )

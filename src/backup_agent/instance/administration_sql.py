"""Databases and users of a MariaDB server, by SQL. Implements instance.administration.Administration.

Names are compared here and not in SQL, where collations take different ones for the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymysql.constants import ER

from backup_agent.domain.administration import Reserved, grant_pattern, grantable, granted_database
from backup_agent.instance.administration import Database, User
from backup_agent.instance.administration_grants import DATABASE_PRIVILEGES
from backup_agent.instance.administration_refusals import (
    database_exists,
    database_not_found,
    name_refused,
    not_grantable,
    user_exists,
    user_not_found,
)
from backup_agent.instance.administration_session import AdministrationSession, identifier
from backup_agent.instance.connection import Endpoint

Account = tuple[str, str]

_DATABASES = """
    SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
"""
_COLLATIONS = """
    SELECT CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY
"""
_USERS = "SELECT User, Host FROM mysql.user WHERE is_role = 'N'"
_POWERFUL = """
    SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES
    WHERE PRIVILEGE_TYPE <> 'USAGE' OR IS_GRANTABLE = 'YES'
"""
_WITH_ROLES = "SELECT User, Host FROM mysql.roles_mapping"
_GRANTED = "SELECT User, Host, Db FROM mysql.db"
_SYSTEM = Reserved()


class MariaDBAdministration:
    """Holds no connection between calls; safe from any thread."""

    def __init__(self, endpoint: Endpoint, lock_wait: float) -> None:
        """`lock_wait` in seconds."""
        self._endpoint = endpoint
        self._lock_wait = lock_wait

    def databases(self) -> Sequence[Database]:
        with self._session() as session:
            return sorted((Database(*row) for row in session.run(_DATABASES)), key=lambda one: one.name)

    def users(self) -> Sequence[User]:
        with self._session() as session:
            accounts = [(str(user), str(host)) for user, host in session.run(_USERS)]
            powerful = {str(row[0]) for row in session.run(_POWERFUL)}
            with_roles = {(str(user), str(host)) for user, host in session.run(_WITH_ROLES)}
            granted = _by_account(session)
        return sorted(
            (
                User(
                    user,
                    host,
                    tuple(sorted({name for name in granted.get((user, host), ()) if name is not None})),
                    powerful=f"'{user}'@'{host}'" in powerful
                    or (user, host) in with_roles
                    or any(name is None or _SYSTEM.has_database(name) for name in granted.get((user, host), ())),
                )
                for user, host in accounts
            ),
            key=lambda one: (one.name, one.host),
        )

    def collations(self) -> frozenset[tuple[str, str]]:
        with self._session() as session:
            return frozenset((str(charset), str(collation)) for charset, collation in session.run(_COLLATIONS))

    def create_database(
        self, name: str, *, character_set: str | None = None, collate: str | None = None, again: bool = False
    ) -> None:
        sql = f"CREATE DATABASE {'IF NOT EXISTS ' if again else ''}{_database(name)}"
        parameters = [value for value in (character_set, collate) if value is not None]
        sql += " CHARACTER SET %s" if character_set is not None else ""
        sql += " COLLATE %s" if collate is not None else ""
        with self._session() as session:
            session.run(sql, *parameters, refused={ER.DB_CREATE_EXISTS: lambda: database_exists(name)})

    def drop_database(self, name: str, *, again: bool = False) -> None:
        with self._session() as session:
            session.run(
                f"DROP DATABASE {'IF EXISTS ' if again else ''}{_database(name)}",
                refused={ER.DB_DROP_EXISTS: lambda: database_not_found(name)},
            )

    def create_user(
        self, name: str, host: str, password_hash: str, databases: Sequence[str], *, again: bool = False
    ) -> None:
        patterns = [_pattern(database) for database in databases]
        with self._session() as session:
            if not again and (name, host) in _accounts(session):
                raise user_exists(name, host)
            session.run(
                f"CREATE USER {'IF NOT EXISTS ' if again else ''}%s@%s IDENTIFIED BY PASSWORD %s",
                *_account(name, host),
                password_hash,
            )
            for pattern in patterns:
                session.run(
                    f"GRANT {', '.join(DATABASE_PRIVILEGES)} ON {identifier(pattern)}.* TO %s@%s", *_account(name, host)
                )

    def drop_user(self, name: str, host: str, *, again: bool = False) -> None:
        with self._session() as session:
            if not again and (name, host) not in _accounts(session):
                raise user_not_found(name, host)
            session.run(f"DROP USER {'IF EXISTS ' if again else ''}%s@%s", *_account(name, host))

    def _session(self) -> AdministrationSession:
        return AdministrationSession(self._endpoint, self._lock_wait)


def _database(name: str) -> str:
    try:
        return identifier(name)
    except ValueError as error:
        raise name_refused("database", name, str(error)) from error


def _account(name: str, host: str) -> Account:
    for what, given in (("user", name), ("host", host)):
        try:
            identifier(given)
        except ValueError as error:
            raise name_refused(what, given, str(error)) from error
    return name, host


def _pattern(database: str) -> str:
    if not grantable(database):
        raise not_grantable(database)
    _database(database)
    return grant_pattern(database)


def _accounts(session: AdministrationSession) -> frozenset[Account]:
    return frozenset((str(user), str(host)) for user, host in session.run(_USERS))


def _by_account(session: AdministrationSession) -> dict[Account, list[str | None]]:
    """What is granted on databases; None for a pattern of many."""
    found: dict[Account, list[str | None]] = {}
    for user, host, pattern in session.run(_GRANTED):
        found.setdefault((str(user), str(host)), []).append(granted_database(str(pattern)))
    return found

"""What the agent's database user must be allowed to do: the statements that grant it, and what a user lacks.

The statements are data so that the documentation, `config check` and the tests use one text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pymysql.converters import escape_string

BACKUP_GRANTS = ("RELOAD", "PROCESS", "BINLOG MONITOR")
"""For a backup with its binlog position. Without BINLOG MONITOR mariadb-backup fails only after it has copied."""
REPLICA_GRANTS = ("SLAVE MONITOR",)
"""In addition on a replica, for the source's position (`--slave-info`); without it the failure comes as late."""
KILL_GRANTS = ("CONNECTION ADMIN", "SELECT (User, Super_priv, is_role) ON mysql.user")
"""In addition where the backup may kill what blocks it: the second tells it whom not to (users with SUPER)."""
MYSQL_GRANTS = (
    "RELOAD",
    "PROCESS",
    "LOCK TABLES",
    "REPLICATION CLIENT",
    "BACKUP_ADMIN",
    "SELECT ON performance_schema.log_status",
    "SELECT ON performance_schema.keyring_component_status",
    "SELECT ON performance_schema.replication_group_members",
)
"""For xtrabackup on MySQL 8 and Percona Server, replica or not."""

_ALIASES = {
    "BINLOG MONITOR": {"REPLICATION CLIENT"},
    "SLAVE MONITOR": {"REPLICA MONITOR"},
}
_WITHIN_SUPER = frozenset({"BINLOG MONITOR", "SLAVE MONITOR", "REPLICATION CLIENT"})
_SUPER_SHRANK = (11, 0)
"""The first MariaDB whose SUPER no longer includes the monitoring privileges."""
_COLUMNS = re.compile(r" ?\([^)]*\)")
_GRANT = re.compile(r"GRANT (?P<privileges>.+?) ON (?:TABLE )?(?P<scope>\S+) TO ")


def grant_statements(privileges: Iterable[str], account: str) -> tuple[str, ...]:
    """The GRANTs that give `privileges` (as `missing` names them) to `account`, an SQL literal."""
    everywhere = [name for name in privileges if " ON " not in name]
    scoped = [f"GRANT {name} TO {account}" for name in privileges if " ON " in name]
    return ((f"GRANT {', '.join(everywhere)} ON *.* TO {account}",) if everywhere else ()) + tuple(scoped)


CREATE_USER_STATEMENTS = (
    "CREATE USER {account} IDENTIFIED BY {password}",
    *grant_statements(BACKUP_GRANTS, "{account}"),
)
"""The least-privilege user on MariaDB, to be run by an administrator. `account` and `password` are SQL literals."""
REPLICA_STATEMENTS = grant_statements(REPLICA_GRANTS, "{account}")
"""To be run as well where the server is a replica."""
MYSQL_STATEMENTS = (CREATE_USER_STATEMENTS[0], *grant_statements(MYSQL_GRANTS, "{account}"))
"""The same on MySQL 8."""


def account_literal(user: str, host: str) -> str:
    """`'user'@'host'`, quoted for SQL."""
    return f"{string_literal(user)}@{string_literal(host)}"


def create_user_statements(
    user: str, password: str, host: str = "localhost", *, replica: bool = False
) -> tuple[str, ...]:
    """The statements that make the user on MariaDB, in their order. They hold the password: never log them."""
    templates = CREATE_USER_STATEMENTS + (REPLICA_STATEMENTS if replica else ())
    account = account_literal(user, host)
    return tuple(template.format(account=account, password=string_literal(password)) for template in templates)


def required(*, datastore: str, replica: bool, kill: bool) -> tuple[str, ...]:
    """What a backup needs on such a server (`mariadb` or `mysql`)."""
    if datastore == "mysql":
        return MYSQL_GRANTS
    return BACKUP_GRANTS + (REPLICA_GRANTS if replica else ()) + (KILL_GRANTS if kill else ())


def missing(
    granted: Iterable[str], *, datastore: str, series: tuple[int, ...], replica: bool, kill: bool = False
) -> tuple[str, ...]:
    """What `granted`, the lines of SHOW GRANTS, lacks, as GRANT names it. `series` is the version's (10, 11).

    The lines are those of the asking user and include the roles that are active in its connection; a role that is
    granted but not active gives mariadb-backup nothing either.
    """
    held = held_privileges(granted)
    super_is_old = datastore == "mysql" or series < _SUPER_SHRANK
    return tuple(
        name
        for name in required(datastore=datastore, replica=replica, kill=kill)
        if not _holds(held, name, super_is_old=super_is_old)
    )


def held_privileges(lines: Iterable[str]) -> dict[str, set[str]]:
    """Privileges by what they are granted on, `*.*`, `db.*` or `db.table`, of the lines of SHOW GRANTS."""
    held: dict[str, set[str]] = {}
    for line in lines:
        # Lines without ON grant a role; what the role may do has lines of its own.
        if match := _GRANT.match(line):
            names = _COLUMNS.sub("", match["privileges"]).split(", ")
            held.setdefault(match["scope"].replace("`", ""), set()).update(names)
    return held


def _holds(held: dict[str, set[str]], name: str, *, super_is_old: bool) -> bool:
    privilege, _, scope = _COLUMNS.sub("", name).partition(" ON ")
    accepted = {privilege, "ALL PRIVILEGES", *_ALIASES.get(privilege, ())}
    if super_is_old and privilege in _WITHIN_SUPER:
        accepted.add("SUPER")
    scopes = {"*.*", scope, f"{scope.partition('.')[0]}.*"} if scope else {"*.*"}
    return any(held.get(place, set()) & accepted for place in scopes)


def string_literal(text: str) -> str:
    """`text`, quoted for SQL."""
    return f"'{escape_string(text)}'"

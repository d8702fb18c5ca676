"""What the database user of the operations on an instance must be allowed to do, and what tenants' users get.

As in grants.py, the statements are data for documentation, `config check` and tests. Whoever may create users and grant
privileges can give himself any: this user is as good as root.
"""

from __future__ import annotations

from collections.abc import Iterable

from backup_agent.instance.grants import account_literal, held_privileges, string_literal

DATABASE_PRIVILEGES = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
    "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
    "DELETE HISTORY",
)  # fmt: skip
"""What a tenant's user may do in its databases: everything but to hand it on."""
ADMINISTRATION_GRANTS = ("CREATE USER", *DATABASE_PRIVILEGES)
"""One can only grant what one has; SELECT also reads the list of users."""
GRANT_OPTION = "GRANT OPTION"


def administrator_statements(user: str, password: str | None, host: str = "localhost") -> tuple[str, ...]:
    """What makes the user, to be run by an administrator; without a password, it logs in by its name on the host
    (unix_socket). They hold the password: never log them.
    """
    account = account_literal(user, host)
    how = "VIA unix_socket" if password is None else f"BY {string_literal(password)}"
    return (
        f"CREATE USER {account} IDENTIFIED {how}",
        f"GRANT {', '.join(ADMINISTRATION_GRANTS)} ON *.* TO {account} WITH GRANT OPTION",
    )


def missing(granted: Iterable[str]) -> tuple[str, ...]:
    """What `granted`, the lines of SHOW GRANTS, lacks, as GRANT names it."""
    lines = list(granted)
    held = held_privileges(lines).get("*.*", set())
    lacking = [] if "ALL PRIVILEGES" in held else [name for name in ADMINISTRATION_GRANTS if name not in held]
    if not any(" ON *.* TO " in line and line.endswith("WITH GRANT OPTION") for line in lines):
        lacking.append(GRANT_OPTION)
    return tuple(lacking)

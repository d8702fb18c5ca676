"""Names of databases, users and hosts as the operations on an instance take them; the agent and the control plane use
the same rules. Values only: whether something of a name is there, the server knows.

A rule is either MariaDB's own, or Trove's (which leaves out the characters that break quoting in careless programs).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from enum import StrEnum

from backup_agent.domain.frozen import Frozen

DATABASE_LENGTH = 64
USER_LENGTH = 80
"""MariaDB's own bounds, in characters. Trove allows 16 for users, which was that of MySQL 5."""
HOST_LENGTH = 60
PASSWORD_LENGTH = 256
SYSTEM_DATABASES = frozenset({"mysql", "sys", "information_schema", "performance_schema", "lost+found"})
SYSTEM_USERS = frozenset(
    {
        "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint",
        "os_admin", "public", "none", "current_user", "current_role", "session_user",
    }
)  # fmt: skip
"""In lower case. The last ones mean something in SQL."""
EVERY_HOST = "%"

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LAST_OF_NAMES = "\uffff"
_UNSUPPORTED = re.compile(r"['\"`;,/\\]")
_ENCODED = "#mysql50#"
"""MariaDB takes the rest of such a name for that of a directory, unencoded."""
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = re.compile(rf"(?:{_OCTET}|%)(?:\.(?:{_OCTET}|%)){{1,3}}")
_NETWORK = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}/{_OCTET}(?:\.{_OCTET}){{3}}")
_ADDRESS_6 = re.compile(r"(?=[0-9a-f:%]*:[0-9a-f:%]*:)[0-9a-f:]+%?", re.IGNORECASE)
_NAME = re.compile(r"(?:%\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
_CHARSET = re.compile(r"[a-z0-9_]{1,64}", re.IGNORECASE)
_HASH = re.compile(r"\*[0-9A-F]{40}")


class Action(StrEnum):
    """What may be asked of the server as a whole."""

    RESTART = "restart"
    STOP = "stop"
    DELETE = "delete"
    """Stopped for good: it does not start by itself any more."""


class Reserved(Frozen):
    """What is not the tenant's: never shown, made or deleted. Beside the system's own, which always are."""

    databases: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()

    def has_database(self, name: str) -> bool:
        folded = name.casefold()
        return folded in SYSTEM_DATABASES or folded.startswith(_ENCODED) or folded in _folded(self.databases)

    def has_user(self, name: str) -> bool:
        """Whatever the host. The nameless user is reserved too."""
        folded = name.casefold()
        return not folded or folded in SYSTEM_USERS or folded in _folded(self.users)


def database_fault(name: str, reserved: Reserved, *, new: bool) -> str | None:
    """Why `name` is refused as a database's, None when it is not. What is there already may have a name that a `new`
    one may not have.
    """
    fault = _name_fault(name, DATABASE_LENGTH, new=new)
    if fault is None and reserved.has_database(name):
        fault = "is reserved"
    if fault is None and new and name in {".", ".."}:
        fault = "is not a name"
    return fault


def user_fault(name: str, reserved: Reserved, *, new: bool) -> str | None:
    """As `database_fault`, of a user. A new one may hold no @, which parts a user from its host in URLs."""
    fault = _name_fault(name, USER_LENGTH, new=new)
    if fault is None and reserved.has_user(name):
        fault = "is reserved"
    if fault is None and new and "@" in name:
        fault = "must not contain @"
    return fault


def host_fault(host: str) -> str | None:
    """Why `host` is refused: it must be `%`, an address (with `%` for parts of it, or a netmask), or a host's name."""
    if host == EVERY_HOST:
        return None
    known = (_ADDRESS, _NETWORK, _ADDRESS_6, _NAME)
    if len(host) > HOST_LENGTH or not any(pattern.fullmatch(host) for pattern in known):
        return "must be %, an IP address (with % or a netmask), or a host name"
    return None


def charset_fault(name: str) -> str | None:
    """Of a character set or a collation; the server knows which there are."""
    return None if _CHARSET.fullmatch(name) else "must be 1 to 64 letters, digits and underscores"


def password_fault(password: str) -> str | None:
    if not 1 <= len(password) <= PASSWORD_LENGTH:
        return f"must have 1 to {PASSWORD_LENGTH} characters"
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in password):
        return "must not contain control characters"
    return None


def hash_fault(password_hash: str) -> str | None:
    return None if _HASH.fullmatch(password_hash) else "must be * and 40 hexadecimal digits in capitals"


def native_hash(password: str) -> str:
    """What the server keeps of a password (mysql_native_password): it logs nobody in, and takes the password's place
    in commands and in the journal.
    """
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"*{hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()}"


def grant_pattern(database: str) -> str:
    """The name as GRANT takes it, which reads a pattern: without this, a grant on `a_b` covers `axb`."""
    return re.sub(r"([\\_%])", r"\\\1", database)


def grantable(database: str) -> bool:
    """Whether a grant can name this database and no other: as a pattern, its name may be too long for the server."""
    return len(grant_pattern(database)) <= DATABASE_LENGTH


def granted_database(pattern: str) -> str | None:
    """The name that GRANT was given as `pattern`; None for a pattern that stands for many."""
    if re.search(r"(?<!\\)(?:\\\\)*%", pattern):
        return None
    return re.sub(r"\\(.)", r"\1", pattern)


def shown(name: str) -> str:
    """`name` for a message: short, and on one line."""
    return ascii(name if len(name) <= USER_LENGTH else f"{name[:USER_LENGTH]}...")


def _name_fault(name: str, most: int, *, new: bool) -> str | None:
    fault = None
    if not 1 <= len(name) <= most:
        fault = f"must have 1 to {most} characters"
    elif any(character > _LAST_OF_NAMES for character in name):
        fault = "must not contain characters outside of Unicode's basic plane (emoji): the server's names can't"
    elif "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        fault = "must not contain NUL or halves of characters"
    elif name != name.strip():
        fault = "must not begin or end with a space"
    elif new and any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        fault = "must not contain control characters or line breaks"
    elif new and _UNSUPPORTED.search(name):
        fault = "must not contain quotes, backticks, semicolons, commas, slashes or backslashes"
    return fault


def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)

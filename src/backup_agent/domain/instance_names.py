"""What is refused of a command for what it names, before anything looks whether it is there: the agent, and the control
plane before it sends, refuse the same in the same words. Values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backup_agent.domain.administration import (
    Reserved,
    charset_fault,
    database_fault,
    grantable,
    hash_fault,
    host_fault,
    password_fault,
    shown,
    user_fault,
)
from backup_agent.domain.instance_command import DatabaseName, NewDatabase, NewUser

NOT_GRANTABLE = "is too long for a grant, where each _ and % of it counts twice"


def told(what: str, name: str, fault: str) -> str:
    """`what` is the kind of the name: database, user, host."""
    return f"the {what} {shown(name)} {fault}"


def new_databases_refusal(databases: Sequence[NewDatabase], reserved: Reserved) -> str | None:
    """Why they are not made, None when nothing speaks against their names."""
    return next(_of_new_databases(databases, reserved), None)


def new_users_refusal(users: Sequence[NewUser], reserved: Reserved) -> str | None:
    """As `new_databases_refusal`. Never repeats a password."""
    return next(_of_new_users(users, reserved), None)


def database_refusal(name: str, reserved: Reserved) -> str | None:
    """Of one that is there already, or is not."""
    fault = database_fault(name, reserved, new=False)
    return told("database", name, fault) if fault else None


def user_refusal(name: str, reserved: Reserved) -> str | None:
    """The same. Of any host: what there is, the server knows."""
    fault = user_fault(name, reserved, new=False)
    return told("user", name, fault) if fault else None


def _of_new_databases(databases: Sequence[NewDatabase], reserved: Reserved) -> Iterator[str]:
    seen: set[str] = set()
    for database in databases:
        if fault := database_fault(database.name, reserved, new=True):
            yield told("database", database.name, fault)
        if database.name in seen:
            yield told("database", database.name, "is given twice")
        seen.add(database.name)
        for what, given in (("character set", database.character_set), ("collation", database.collate)):
            if given is not None and (fault := charset_fault(given)):
                yield told(what, given, fault)


def _of_new_users(users: Sequence[NewUser], reserved: Reserved) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for user in users:
        if fault := user_fault(user.name, reserved, new=True):
            yield told("user", user.name, fault)
        if fault := host_fault(user.host):
            yield told("host", user.host, fault)
        if fault := _secret_fault(user):
            yield f"the password of user {shown(user.name)} {fault}"
        account = (user.name, user.host.lower())
        if account in seen:
            yield told("user", user.name, "is given twice")
        seen.add(account)
        yield from _of_granted(user.databases, reserved)


def _of_granted(databases: Sequence[DatabaseName], reserved: Reserved) -> Iterator[str]:
    for database in databases:
        if refusal := database_refusal(database.name, reserved):
            yield refusal
        if not grantable(database.name):
            yield told("database", database.name, NOT_GRANTABLE)


def _secret_fault(user: NewUser) -> str | None:
    if user.password is not None:
        return password_fault(user.password.get_secret_value())
    return hash_fault(user.password_hash or "")

"""Why an operation on databases or users is refused, in words. Nothing was changed then."""

from __future__ import annotations

from backup_agent.domain.administration import shown
from backup_agent.domain.instance_names import NOT_GRANTABLE, told
from backup_agent.errors import ErrorCode, RejectedError


def refused(why: str) -> RejectedError:
    """For what a command names; `why` as `domain.instance_names` says it."""
    return RejectedError(ErrorCode.NAME_REFUSED, why, "docs/administration.md has the rules for names and passwords.")


def name_refused(what: str, name: str, fault: str) -> RejectedError:
    """`what` is the kind of the name: database, user, host."""
    return refused(told(what, name, fault))


def not_grantable(database: str) -> RejectedError:
    return name_refused("database", database, NOT_GRANTABLE)


def database_exists(name: str) -> RejectedError:
    return RejectedError(
        ErrorCode.DATABASE_EXISTS,
        f"there is a database {shown(name)} already",
        "Choose another name, or list the databases.",
    )


def database_not_found(name: str) -> RejectedError:
    return RejectedError(ErrorCode.DATABASE_NOT_FOUND, f"there is no database {shown(name)}", "List the databases.")


def user_exists(name: str, host: str) -> RejectedError:
    return RejectedError(
        ErrorCode.USER_EXISTS, f"there is a user {shown(name)}@{shown(host)} already", "Choose another name or host."
    )


def user_not_found(name: str, host: str) -> RejectedError:
    return RejectedError(
        ErrorCode.USER_NOT_FOUND, f"there is no user {shown(name)}@{shown(host)}", "List the users; the host counts."
    )

"""`instance.create_users`, `instance.list_users` and `instance.delete_user`.

Users who may do anything beyond databases of their own are the operator's: not shown, and not deleted. A grant is on
databases that are there, by their names, never on a pattern.
"""

from __future__ import annotations

from backup_agent.domain.administration import Reserved, shown
from backup_agent.domain.instance_command import CreateUsers, DeleteUser, InstanceCommandType, ListUsers, NewUser
from backup_agent.domain.instance_names import new_users_refusal, user_refusal
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.instance.administration import User
from backup_agent.instance.administration_refusals import (
    database_not_found,
    refused,
    user_exists,
    user_not_found,
)
from backup_agent.operations.instance_operation import Operation, Result, Work, no_names
from backup_agent.operations.instance_pages import page
from backup_agent.operations.instance_secrets import hash_of


def create(command: CreateUsers, work: Work) -> Result:
    if not work.again:
        there = {(user.name, user.host) for user in work.server.users()}
        databases = {database.name for database in work.server.databases()}
        for user in command.users:
            if _account(user) in there:
                raise user_exists(*_account(user))
            for database in user.databases:
                if database.name not in databases:
                    raise database_not_found(database.name)
        work.begin()
    for user in command.users:
        work.server.create_user(
            *_account(user), hash_of(user), [database.name for database in user.databases], again=work.again
        )
    return {"users": [{"name": user.name, "host": user.host.lower()} for user in command.users]}


def listed(command: ListUsers, work: Work) -> Result:
    ours = sorted((user for user in work.server.users() if _is_tenants(user, work.reserved)), key=_marker)
    shown_now, marker = page(ours, _marker, command)
    users = [
        {
            "name": user.name,
            "host": user.host,
            "databases": [{"name": name} for name in user.databases if not work.reserved.has_database(name)],
        }
        for user in shown_now
    ]
    return {"users": users, "next_marker": marker}


def delete(command: DeleteUser, work: Work) -> Result:
    name, host = command.name, command.host.lower()
    if not work.again:
        found = next((user for user in work.server.users() if (user.name, user.host) == (name, host)), None)
        if found is None:
            raise user_not_found(name, host)
        if not _is_tenants(found, work.reserved):
            raise RejectedError(
                ErrorCode.NAME_REFUSED,
                f"the user {shown(name)}@{shown(host)} may do more than in databases of its own",
                "Such a user is the operator's, who can delete it by SQL.",
            )
        work.begin()
    work.server.drop_user(name, host, again=work.again)
    return {}


def _is_tenants(user: User, reserved: Reserved) -> bool:
    return not user.powerful and not reserved.has_user(user.name)


def _marker(user: User) -> str:
    return f"{user.name}@{user.host}"


def _account(user: NewUser) -> tuple[str, str]:
    """As the server keeps it: hosts in lower case."""
    return user.name, user.host.lower()


def _check_new(command: CreateUsers, reserved: Reserved) -> None:
    if why := new_users_refusal(command.users, reserved):
        raise refused(why)


def _check_delete(command: DeleteUser, reserved: Reserved) -> None:
    if why := user_refusal(command.name, reserved):
        raise refused(why)


CREATE_USERS = Operation(InstanceCommandType.CREATE_USERS, CreateUsers, _check_new, create)
LIST_USERS = Operation(InstanceCommandType.LIST_USERS, ListUsers, no_names, listed)
DELETE_USER = Operation(InstanceCommandType.DELETE_USER, DeleteUser, _check_delete, delete)

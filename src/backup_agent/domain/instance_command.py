"""What the agent can be asked to do with the instance itself, as values whose shape is checked.

Names are only bounded here: one that is not allowed is answered, with an error, not put with the dead letters. A
password is never shown: it is replaced by its hash (`without_passwords`) before a command is written anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, model_validator

from backup_agent.domain.administration import EVERY_HOST
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import AccountId, InstanceId

Given = Annotated[str, StringConstraints(max_length=1024)]
MOST_AT_ONCE = 100
PAGE = 20
LARGEST_PAGE = 1000
_PREFIX = "instance."


class InstanceCommandType(StrEnum):
    """The types of their messages, by which everybody names them."""

    CREATE_DATABASES = "instance.create_databases"
    LIST_DATABASES = "instance.list_databases"
    DELETE_DATABASE = "instance.delete_database"
    CREATE_USERS = "instance.create_users"
    LIST_USERS = "instance.list_users"
    DELETE_USER = "instance.delete_user"
    RESTART = "instance.restart"
    STOP = "instance.stop"
    DELETE = "instance.delete"

    @property
    def action(self) -> str:
        """What is done, for users of the API."""
        return self.removeprefix(_PREFIX)


class ForInstance(Frozen):
    """Of every such command: whom it is for."""

    instance_id: InstanceId
    account_id: AccountId


class DatabaseName(Frozen):
    name: Given


class NewDatabase(DatabaseName):
    character_set: Given | None = None
    collate: Given | None = None


class NewUser(Frozen):
    """With either a password or its hash, as `domain.administration.native_hash` makes it."""

    name: Given
    password: SecretStr | None = None
    password_hash: Given | None = None
    host: Given = EVERY_HOST
    databases: Annotated[tuple[DatabaseName, ...], Field(max_length=MOST_AT_ONCE)] = ()

    @model_validator(mode="after")
    def _one_secret(self) -> NewUser:
        if (self.password is None) == (self.password_hash is None):
            msg = "give either password or password_hash"
            raise ValueError(msg)
        return self


class CreateDatabases(ForInstance):
    """`instance.create_databases`."""

    databases: Annotated[tuple[NewDatabase, ...], Field(min_length=1, max_length=MOST_AT_ONCE)]


class Listing(ForInstance):
    """One page, in the order of the names. `marker` is the last of the page before."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = PAGE
    marker: Given | None = None


class ListDatabases(Listing):
    """`instance.list_databases`."""


class DeleteDatabase(ForInstance):
    """`instance.delete_database`."""

    name: Given


class CreateUsers(ForInstance):
    """`instance.create_users`."""

    users: Annotated[tuple[NewUser, ...], Field(min_length=1, max_length=MOST_AT_ONCE)]


class ListUsers(Listing):
    """`instance.list_users`. A marker is `name@host`."""


class DeleteUser(ForInstance):
    """`instance.delete_user`."""

    name: Given
    host: Given = EVERY_HOST


class RestartInstance(ForInstance):
    """`instance.restart`."""


class StopInstance(ForInstance):
    """`instance.stop`."""


class DeleteInstance(ForInstance):
    """`instance.delete`: the server is stopped for good. Data and backups stay."""


InstanceCommand = (
    CreateDatabases
    | ListDatabases
    | DeleteDatabase
    | CreateUsers
    | ListUsers
    | DeleteUser
    | RestartInstance
    | StopInstance
    | DeleteInstance
)
INSTANCE_COMMANDS: Mapping[str, type[InstanceCommand]] = {
    InstanceCommandType.CREATE_DATABASES: CreateDatabases,
    InstanceCommandType.LIST_DATABASES: ListDatabases,
    InstanceCommandType.DELETE_DATABASE: DeleteDatabase,
    InstanceCommandType.CREATE_USERS: CreateUsers,
    InstanceCommandType.LIST_USERS: ListUsers,
    InstanceCommandType.DELETE_USER: DeleteUser,
    InstanceCommandType.RESTART: RestartInstance,
    InstanceCommandType.STOP: StopInstance,
    InstanceCommandType.DELETE: DeleteInstance,
}
"""By their types."""

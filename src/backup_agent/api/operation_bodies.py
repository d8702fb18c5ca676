"""What may stand in a request for databases, users or an action, and what its agent is sent.

A password goes no further than here: what is sent has its hash. Names are judged by the rules of the agent, before
anything is sent; of what the operator of an instance has reserved beyond them, the agent alone knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from backup_agent.api import bodies, faults
from backup_agent.api.bodies import Asked
from backup_agent.domain.administration import EVERY_HOST, Reserved, native_hash
from backup_agent.domain.instance_command import (
    MOST_AT_ONCE,
    DatabaseName,
    Given,
    InstanceCommandType,
    NewDatabase,
    NewUser,
)
from backup_agent.domain.instance_names import (
    database_refusal,
    new_databases_refusal,
    new_users_refusal,
    user_refusal,
)

Data = dict[str, Any]

_LONGEST_HOST = 255
_ACTIONS = {command.action: command for command in (InstanceCommandType.RESTART, InstanceCommandType.STOP)}


class _Database(Asked):
    name: Given
    character_set: Given | None = None
    collate: Given | None = None


class _Databases(Asked):
    databases: Annotated[list[_Database], Field(min_length=1, max_length=MOST_AT_ONCE)]


class _Granted(Asked):
    name: Given


def _hidden(value: object) -> object:
    return SecretStr(value) if isinstance(value, str) else value


class _User(Asked):
    name: Given
    password: Annotated[SecretStr, BeforeValidator(_hidden)]
    host: Given | None = None
    databases: Annotated[list[_Granted], Field(max_length=MOST_AT_ONCE)] | None = None


class _Users(Asked):
    users: Annotated[list[_User], Field(min_length=1, max_length=MOST_AT_ONCE)]


def new_databases(body: bytes) -> Data:
    """Raises Fault (400)."""
    given = bodies.validated(_Databases, bodies.parse_json(body)).databases
    asked = [NewDatabase(name=one.name, character_set=one.character_set, collate=one.collate) for one in given]
    _refuse(new_databases_refusal(asked, Reserved()))
    return {"databases": [one.model_dump(mode="json", exclude_none=True) for one in asked]}


def new_users(body: bytes) -> Data:
    """Raises Fault (400), never repeating a password."""
    given = bodies.validated(_Users, bodies.parse_json(body)).users
    asked = [
        NewUser(
            name=one.name,
            password=one.password,
            host=EVERY_HOST if one.host is None else one.host,
            databases=tuple(DatabaseName(name=granted.name) for granted in one.databases or ()),
        )
        for one in given
    ]
    _refuse(new_users_refusal(asked, Reserved()))
    return {"users": [_with_hash(user) for user in asked]}


def database(name: str) -> Data:
    """One to be deleted. Raises Fault (400)."""
    _refuse(database_refusal(name, Reserved()))
    return {"name": name}


def user(text: str) -> Data:
    """One to be deleted, as Trove's URLs have it: `name@host`, or the name alone for the host `%`.

    Raises Fault (400).
    """
    before, at, after = text.rpartition("@")
    name, host = (before, after) if at and after else (text, EVERY_HOST)
    _refuse(user_refusal(name, Reserved()))
    if len(host) > _LONGEST_HOST:
        raise faults.bad_request(f"The host has more than {_LONGEST_HOST} characters.")
    return {"name": name, "host": host}


def action(body: bytes) -> InstanceCommandType:
    """Which of the actions on an instance as a whole. Raises Fault (400)."""
    document = bodies.parse_json(body)
    if not isinstance(document, Mapping) or len(document) != 1:
        raise faults.bad_request("The body can't be used: it must name one action.")
    (name,) = document
    if name not in _ACTIONS:
        raise faults.bad_request(f"The body can't be used: the action must be one of {', '.join(_ACTIONS)}.")
    if document[name] not in ({}, None):
        raise faults.bad_request(f"The body can't be used: {name} takes nothing.")
    return _ACTIONS[name]


def _with_hash(user: NewUser) -> Data:
    known = user.model_dump(mode="json", exclude={"password", "password_hash"})
    secret = "" if user.password is None else user.password.get_secret_value()
    return {**known, "password_hash": native_hash(secret)}


def _refuse(why: str | None) -> None:
    if why is not None:
        raise faults.bad_request(f"The request can't be met: {why}.")

"""What is sent to an agent for what a user asks, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from backup_agent.api import commands, operation_bodies, paging
from backup_agent.api.faults import Fault
from backup_agent.domain.administration import native_hash
from backup_agent.domain.instance_command import InstanceCommandType
from backup_agent.inbox.wire import parse_command
from tests.hostile import HOSTILE


@pytest.mark.parametrize(
    ("text", "name", "host"),
    [
        ("clerk", "clerk", "%"),
        ("clerk@%", "clerk", "%"),
        ("clerk@10.0.0.%", "clerk", "10.0.0.%"),
        ("a@b@localhost", "a@b", "localhost"),
        ("clerk@", "clerk@", "%"),
    ],
)
def test_a_user_in_a_url_is_a_name_and_perhaps_a_host(text: str, name: str, host: str) -> None:
    assert operation_bodies.user(text) == {"name": name, "host": host}


@pytest.mark.parametrize("text", ["", "@%", "root", "root@localhost", "x" * 81, f"clerk@{'x' * 256}", "a\0b"])
def test_what_is_no_tenants_user_is_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        operation_bodies.user(text)
    assert caught.value.status == 400


def test_a_password_is_sent_as_its_hash() -> None:
    body = json.dumps({"users": [{"name": "clerk", "password": "a secret", "host": None, "databases": None}]})
    assert operation_bodies.new_users(body.encode()) == {
        "users": [{"name": "clerk", "password_hash": native_hash("a secret"), "host": "%", "databases": []}]
    }


def test_what_is_left_out_of_a_database_is_not_sent() -> None:
    body = json.dumps({"databases": [{"name": "shop", "collate": None, "unknown": 1}]})
    assert operation_bodies.new_databases(body.encode()) == {"databases": [{"name": "shop"}]}


@pytest.mark.parametrize("name", ["shop", "a b&c=d+e", "日本" * 40, "x" * 300 + "@" + "y" * 255])
def test_a_marker_of_names_is_plain_and_comes_back(name: str) -> None:
    marker = paging.marker_of_name(name)
    assert marker.replace("-", "").replace("_", "").isalnum()
    assert marker.isascii()
    assert paging.names_asked(None, marker).after == name


def database_and_user(name: str, other: str) -> bytes:
    return json.dumps({"users": [{"name": name, "password": "x", "databases": [{"name": other}]}]}).encode()


WAYS: dict[InstanceCommandType, Callable[[str, str], dict[str, Any]]] = {
    InstanceCommandType.CREATE_DATABASES: lambda name, _: operation_bodies.new_databases(
        json.dumps({"databases": [{"name": name}]}).encode()
    ),
    InstanceCommandType.DELETE_DATABASE: lambda name, _: operation_bodies.database(name),
    InstanceCommandType.CREATE_USERS: lambda name, other: operation_bodies.new_users(database_and_user(name, other)),
    InstanceCommandType.DELETE_USER: lambda name, _: operation_bodies.user(f"{name}@%"),
}


@pytest.mark.parametrize("command", WAYS)
def test_what_a_hostile_name_makes_is_a_command_that_the_agent_understands_or_a_fault(
    command: InstanceCommandType,
) -> None:
    taken, refused = 0, set()
    for name, other in zip(HOSTILE, reversed(HOSTILE), strict=True):
        try:
            data = WAYS[command](name, other)
        except Fault as fault:
            refused.add(fault.status)
            continue
        taken += 1
        encoded = commands.operate(
            command,
            data,
            instance_id="44b277eb-39be-4921-be31-3d61b43651d7",
            account_id="1234",
            expires=datetime.now(UTC),
        )
        understood = parse_command(encoded.body).command.model_dump()
        assert name in (understood.get("name"), *(one["name"] for one in _several(understood)))
    assert taken > 10
    assert refused == {400}


def _several(command: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(command.get("databases", ())) + tuple(command.get("users", ()))

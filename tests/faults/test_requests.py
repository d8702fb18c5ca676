"""Requests that are wrong in themselves, by options and by message."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest

from tests.agent import ACCOUNT
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

ID = "61f12fef-edb1-4561-8122-e7c00ef26a82"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--name", ""), "name: String should have at least 1 character"),
        (("--name", "n" * 65), "name: String should have at most 64 characters"),
        (("--name", "two\nlines"), "name: must not contain control characters or line breaks"),
        (("--name", "bell\a"), "name: must not contain control characters or line breaks"),
        (("--name", "!?-"), "name: must contain a letter or a digit"),
        (("--description", "d" * 513), "description: String should have at most 512 characters"),
        (("--parent", "newest"), "parent_id: must be a UUID in lower case with hyphens"),
        (("--parent", "../" + ID), "parent_id: must be a UUID in lower case with hyphens"),
        (("--parent", ID, "--incremental"), "--incremental and --parent both name a parent"),
        (("--message", "-", "--name", "n"), "it can't be combined with other options"),
        (("--message", "/nowhere/create.json"), "can't read the message /nowhere/create.json: No such file"),
        (("--message", "/"), "can't read the message /: Is a directory"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_done(
    agent: ConfinedAgent, options: tuple[str, ...], words: str
) -> None:
    outcome = agent.run("run-once", *options)
    refused(outcome, "invalid_request", "rejected", words)
    assert not agent.store.exists()
    assert not agent.runtime_dir.exists()


def message(agent: ConfinedAgent, **changes: Any) -> dict[str, Any]:
    """A good one, with `changes` in the backup."""
    backup = {
        "id": str(uuid.uuid4()),
        "name": "by message",
        "description": "as the queue would bring it",
        "instance_id": agent.instance_id,
        "account_id": ACCOUNT,
    }
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "urn:example:test",
        "type": "backup.create",
        "dataschema": "urn:backup-agent:command:v1",
        "data": {"backup": {**backup, **changes}},
    }


def send(agent: ConfinedAgent, content: dict[str, Any] | bytes, *options: str) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return agent.run("run-once", "--json", "--message", "-", *options, stdin=body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"backup!", "it is not JSON in UTF-8"),
        (b"x" * (2 << 20), "it has more than 1048576 bytes"),
        (b"[" * 100_000, "it is not JSON in UTF-8: RecursionError"),
        (b'{"name": "back up"}', "specversion: Field required"),
    ],
)
def test_what_is_no_command_is_refused(agent: ConfinedAgent, body: bytes, words: str) -> None:
    refused(send(agent, body), "invalid_message", "rejected", words)
    assert not agent.store.exists()


@pytest.mark.parametrize("ours", [{"instance_id": ID}, {"account_id": "4321"}])
def test_a_command_for_another_instance_or_account_is_refused(
    agent: ConfinedAgent, shop: PrivateMariaDB, ours: dict[str, str]
) -> None:
    with nothing_left_behind(agent, shop):
        outcome = send(agent, message(agent, **ours))
        refused(outcome, "wrong_instance", "rejected", *ours.values(), agent.instance_id)
    assert not outcome.events("backup.rejected"), "an event would speak of another's backup"


def test_a_message_is_carried_out_once_however_often_it_comes(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    command = message(agent)
    wanted = command["data"]["backup"]
    first = send(agent, command)
    backup = first.json["backup"]
    assert {name: backup[name] for name in ("id", "name", "description", "instance_id")} == {
        name: wanted[name] for name in ("id", "name", "description", "instance_id")
    }
    assert (backup["status"], backup["type"]) == ("COMPLETED", "full")
    sequence = [line["sequence"] for line in first.log if "sequence" in line]  # the log leaves out some of the progress
    assert sequence == sorted(set(sequence))
    assert sequence[0] == 1

    with nothing_left_behind(agent, shop):
        again = send(agent, {**command, "id": str(uuid.uuid4())})
        assert again.json["backup"] == backup
        assert not again.events("backup.started")
        other = send(agent, message(agent, id=wanted["id"], name="another"))
        refused(other, "backup_id_in_use", "rejected", wanted["id"], "'by message'")


def test_a_message_may_name_its_container_and_come_from_a_file(
    agent: ConfinedAgent, tmp_path: Path, shop: PrivateMariaDB
) -> None:
    command = message(agent)
    command["data"]["container"] = "monthly"
    file = tmp_path / "create.json"
    file.write_text(json.dumps(command))
    outcome = agent.run("run-once", "--json", "--message", str(file))
    location = outcome.json["backup"]["locationRef"]
    assert (
        location
        == f"{agent.store.as_uri()}/monthly/{agent.instance_id}/{command['data']['backup']['id']}/manifest.json"
    )
    assert {name.partition("/")[0] for name in agent.stored_files()} == {"monthly"}
    with nothing_left_behind(agent, shop):
        incremental = message(agent, incremental=True)
        refused(send(agent, incremental), "no_parent", "rejected")
    with nothing_left_behind(agent, shop):
        refused(send(agent, incremental), "backup_id_in_use", "rejected", "has FAILED")
    incremental["data"]["container"] = "monthly"
    incremental["data"]["backup"]["id"] = str(uuid.uuid4())
    assert send(agent, incremental).json["backup"]["parent_id"] == command["data"]["backup"]["id"]


def test_a_message_that_does_not_come_can_be_interrupted(agent: ConfinedAgent, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    subprocess.run(["mkfifo", pipe], check=True)
    # Once the pipe could be opened, its reader is there, and heeds signals.
    with Running(agent, "run-once", "--message", str(pipe)) as running, pipe.open("w"):
        running.send(SIGINT)
        outcome = running.end()
    assert (outcome.status, outcome.error["code"]) == (130, "interrupted")


def test_a_backup_id_is_not_taken_for_a_path(agent: ConfinedAgent) -> None:
    with nothing_left_behind(agent):
        for command in ("show", "restore"):
            target = ("--target-dir", agent.base / "target") if command == "restore" else ()
            refused(agent.run(command, f"../{agent.instance_id}/{ID}", *target), "invalid_request", "rejected")
        refused(send(agent, message(agent, id="../x")), "invalid_message", "rejected", "data.backup.id: must be a UUID")
        unsafe = message(agent)
        unsafe["data"]["container"] = "../other"
        refused(send(agent, unsafe), "invalid_message", "rejected", "data.container")
    assert not (agent.base / "target").exists()

"""Backups asked for, listed, shown and deleted. The agents are simulated; the rest is real."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backup_agent.inbox.wire import parse_command
from tests.api.fleet import Agent
from tests.api.service import Api, User
from tests.api.test_requests import fault, message
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server


def full(user: User, agent: Agent, name: str = "full", **fields: Any) -> dict[str, Any]:
    """A completed backup."""
    backup = user.created(agent.instance_id, name, **fields)
    agent.await_commands(1)
    agent.complete(backup)
    completed = user.await_status(backup["id"], "COMPLETED")
    assert completed is not None
    return completed


def test_a_new_backup_is_shown_as_the_documentation_has_it(user: User, instance: str) -> None:
    backup = user.created(instance, "snapshot", description="My Backup", incremental=0)
    created = backup.pop("created")
    assert created == backup.pop("updated")
    assert len(created) == len("2014-02-13T21:47:16")
    assert backup == {
        "id": backup["id"],
        "name": "snapshot",
        "description": "My Backup",
        "instance_id": instance,
        "parent_id": None,
        "project_id": "1234",
        "size": None,
        "status": "NEW",
        "locationRef": None,
        "datastore": {"type": "mariadb", "version": "10.11", "version_id": "mariadb-10.11"},
        "checksum": None,
        "progress": 0,
        "error": None,
        "verified_at": None,
    }


def test_the_agent_gets_a_command_that_it_understands(user: User, agent: Agent) -> None:
    backup = user.created(agent.instance_id, "Übung 1", description="mit Umlaut")
    (command,) = agent.await_commands(1)
    received = parse_command(json.dumps(command).encode())
    assert received.expires is not None
    assert received.command.model_dump()["backup"] == {
        "id": backup["id"],
        "name": "Übung 1",
        "description": "mit Umlaut",
        "instance_id": agent.instance_id,
        "account_id": "1234",
        "parent_id": None,
        "incremental": False,
    }


def test_an_instance_is_in_backup_until_its_backup_has_ended(user: User, agent: Agent) -> None:
    def status() -> str:
        return str(user.http.get(f"/instances/{agent.instance_id}").json()["instance"]["status"])

    assert status() == "ACTIVE"
    backup = user.created(agent.instance_id)
    assert status() == "BACKUP"
    answer = user.create(agent.instance_id)
    assert fault(answer) == (422, "unprocessableEntity")
    assert message(answer) == (
        f"Instance {agent.instance_id} is not currently available for an action to be performed "
        "(instance status was BACKUP)."
    )
    agent.complete(backup)
    user.await_status(backup["id"], "COMPLETED")
    assert status() == "ACTIVE"
    assert user.create(agent.instance_id).status_code == 202


def test_an_incremental_continues_the_newest_completed_backup_or_the_one_named(user: User, agent: Agent) -> None:
    first = full(user, agent, "first")
    second = full(user, agent, "second", incremental=1)
    assert second["parent_id"] == first["id"]
    third = user.created(agent.instance_id, "third", incremental=1, parent_id=first["id"].upper())
    assert third["parent_id"] == first["id"]
    (command,) = agent.await_commands(1)
    assert command["data"]["backup"]["parent_id"] == first["id"]
    assert "incremental" not in command["data"]["backup"]


def test_a_parent_must_be_completed_and_of_the_same_instance(
    api: Api, user: User, agent: Agent, broker: PrivateRabbitMQ
) -> None:
    failed = user.created(agent.instance_id)
    agent.fail(failed)
    user.await_status(failed["id"], "FAILED")
    answer = user.create(agent.instance_id, parent_id=failed["id"])
    assert fault(answer) == (400, "badRequest")
    assert message(answer) == f"The parent {failed['id']} is not COMPLETED, it is FAILED."
    foreign = full(user, Agent(broker, api.add_instance()))
    answer = user.create(agent.instance_id, parent_id=foreign["id"])
    assert fault(answer) == (400, "badRequest")
    assert message(answer) == f"The parent {foreign['id']} is a backup of another instance."


def test_pages_hold_every_backup_once_newest_first_also_while_new_ones_come(
    api: Api, user: User, broker: PrivateRabbitMQ
) -> None:
    agent = Agent(broker, api.add_instance())
    ids = [full(user, agent, f"backup {number}")["id"] for number in range(5)]
    path = f"/instances/{agent.instance_id}/backups"
    page = user.http.get(path, params={"limit": 2}).json()
    seen = [backup["id"] for backup in page["backups"]]
    late = user.created(agent.instance_id, "late")["id"]
    while "links" in page:
        (link,) = page["links"]
        assert link["rel"] == "next"
        query = parse_qs(urlsplit(link["href"]).query)
        assert query["limit"] == ["2"]
        page = user.http.get(f"{path}?limit=2&marker={query['marker'][0]}").json()
        seen += [backup["id"] for backup in page["backups"]]
    assert seen == list(reversed(ids))
    everything = user.http.get("/backups", params={"instance_id": agent.instance_id}).json()["backups"]
    assert [backup["id"] for backup in everything] == [late, *reversed(ids)]


def test_a_page_has_twenty_backups_unless_another_limit_is_asked_for(
    api: Api, user: User, broker: PrivateRabbitMQ
) -> None:
    agent = Agent(broker, api.add_instance())
    ids = [agent_backup(agent, number) for number in range(23)]
    until(lambda: all(user.status(one) == "COMPLETED" for one in ids), "all of them")
    path = f"/instances/{agent.instance_id}/backups"
    assert len(user.http.get(path).json()["backups"]) == 20
    assert len(user.http.get(path, params={"limit": 1000}).json()["backups"]) == 23


def agent_backup(agent: Agent, number: int) -> str:
    """A backup that nobody asked the API for."""
    backup_id = f"00000000-0000-4000-8000-{number:012}"
    agent.completed({"id": backup_id, "name": f"by timer {number}"})
    return backup_id


def test_backups_are_found_by_datastore(user: User, agent: Agent) -> None:
    backup = full(user, agent)
    of_instance = {"instance_id": agent.instance_id}
    for wanted in ("mariadb", "mariadb-10.11.6"):
        found = user.http.get("/backups", params={**of_instance, "datastore": wanted}).json()["backups"]
        assert [one["id"] for one in found] == [backup["id"]]
    assert user.http.get("/backups", params={**of_instance, "datastore": "mysql"}).json() == {"backups": []}


def test_a_backup_is_deleted_with_all_incrementals_of_it_children_first(user: User, agent: Agent) -> None:
    first = full(user, agent, "first")
    second = full(user, agent, "second", incremental=1)
    third = full(user, agent, "third", incremental=1)
    answer = user.http.delete(f"/backups/{first['id']}")
    assert (answer.status_code, answer.content) == (202, b"")
    for backup in (first, second, third):
        shown = user.backup(backup["id"])
        assert shown is not None
        assert (shown["status"], shown["deleting"]) == ("COMPLETED", True)
    assert user.http.delete(f"/backups/{first['id']}").status_code == 202  # once more, for nothing
    commands = agent.await_commands(3)
    assert [(one["type"], one["data"]) for one in commands] == [
        ("backup.delete", {"backup_id": backup["id"], "account_id": "1234"}) for backup in (third, second, first)
    ]
    for backup in (third, second, first):
        agent.tell("deleted", backup, "DELETED")
    user.await_status(first["id"], None)
    assert user.http.get(f"/instances/{agent.instance_id}/backups").json() == {"backups": []}
    assert agent.commands() == []


def test_nothing_is_deleted_while_an_incremental_of_it_runs(user: User, agent: Agent) -> None:
    first = full(user, agent, "first")
    second = user.created(agent.instance_id, "second", parent_id=first["id"])
    for backup in (first, second):
        answer = user.http.delete(f"/backups/{backup['id']}")
        assert fault(answer) == (422, "unprocessableEntity")
        assert message(answer) == f"Backup {second['id']} cannot be deleted because it is running."
    agent.await_commands(1)
    assert "deleting" not in (user.backup(first["id"]) or {})


def test_a_backup_that_is_being_deleted_is_no_parent(user: User, agent: Agent) -> None:
    first = full(user, agent, "first")
    user.http.delete(f"/backups/{first['id']}")
    assert fault(user.create(agent.instance_id, parent_id=first["id"])) == (400, "badRequest")
    assert fault(user.create(agent.instance_id, incremental=1)) == (400, "badRequest")


def test_a_deletion_that_fails_says_why_and_can_be_tried_again(user: User, agent: Agent) -> None:
    backup = full(user, agent)
    user.http.delete(f"/backups/{backup['id']}")
    error = {"code": "store_denied", "message": "the store refused", "hint": "Look at its rights.", "status": None}
    agent.tell("delete_failed", backup, "DELETE_FAILED", error=error)
    shown = user.await_status(backup["id"], "DELETE_FAILED")
    assert shown is not None
    assert shown["error"] == {"code": "store_denied", "message": "the store refused", "hint": "Look at its rights."}
    assert user.http.delete(f"/backups/{backup['id']}").status_code == 202
    agent.tell("deleted", backup, "DELETED")
    user.await_status(backup["id"], None)


def test_an_instance_that_was_removed_keeps_its_backups_which_can_be_deleted(
    api: Api, user: User, agent: Agent
) -> None:
    backup = full(user, agent)
    assert api.command("instance", "remove", agent.instance_id).status == 0
    assert fault(user.http.get(f"/instances/{agent.instance_id}")) == (404, "itemNotFound")
    assert fault(user.create(agent.instance_id)) == (404, "itemNotFound")
    assert user.status(backup["id"]) == "COMPLETED"
    assert user.http.delete(f"/backups/{backup['id']}").status_code == 202
    agent.tell("deleted", backup, "DELETED")
    user.await_status(backup["id"], None)


def test_instances_are_listed_with_pages_too(api: Api) -> None:
    user = User(api, api.add_token("5555"), "5555")
    for number in range(3):
        api.add_instance(f"db{number}", "5555")
    page = user.http.get("/instances", params={"limit": 2}).json()
    assert [one["name"] for one in page["instances"]] == ["db2", "db1"]
    marker = parse_qs(urlsplit(page["links"][0]["href"]).query)["marker"][0]
    page = user.http.get(f"/instances?limit=2&marker={marker}").json()
    assert [one["name"] for one in page["instances"]] == ["db0"]
    assert "links" not in page
    user.http.close()

"""The unmodified Trove client, library and `openstack database` commands, against the API."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from keystoneauth1 import session, token_endpoint
from troveclient.apiclient import exceptions

from tests.api.fleet import Agent, new_id
from tests.api.service import Api, User
from tests.faults.waiting import until

pytestmark = pytest.mark.server


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Their warnings are theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


@pytest.fixture(scope="module")
def trove(api: Api, user: User) -> Any:
    def made() -> Any:
        from troveclient import client  # noqa: PLC0415 - it warns when it is imported

        endpoint = token_endpoint.Token(f"{api.url}/v1.0/1234", user.token)
        return client.Client("1.0", session=session.Session(auth=endpoint))

    return quietly(made)


@pytest.fixture
def openstack(
    api: Api, user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs `openstack database ...`: what it printed as JSON, or its exit status and words when it failed."""
    monkeypatch.setenv("OS_AUTH_TYPE", "admin_token")
    monkeypatch.setenv("OS_ENDPOINT", f"{api.url}/v1.0/1234")
    monkeypatch.setenv("OS_TOKEN", user.token)
    monkeypatch.setenv("HOME", str(api.base))

    def run(*words: str, json_output: bool = True) -> Any:
        def shell() -> int:
            from openstackclient.shell import main  # noqa: PLC0415 - it warns when it is imported

            return int(main(["database", *words, *(["-f", "json"] if json_output else [])]))

        capsys.readouterr()
        status = quietly(shell)
        said = capsys.readouterr()
        if status:
            return status, said.err
        return json.loads(said.out) if json_output else said.out

    return run


def complete(user: User, agent: Agent, backup_id: str) -> None:
    shown = user.backup(backup_id)
    assert shown is not None
    agent.complete(shown)
    user.await_status(backup_id, "COMPLETED")


def test_the_library_creates_lists_shows_and_deletes(trove: Any, user: User, agent: Agent) -> None:
    first = trove.backups.create("first", agent.instance_id, description="My Backup")
    assert (first.status, first.description, first.instance_id) == ("NEW", "My Backup", agent.instance_id)
    complete(user, agent, first.id)
    second = trove.backups.create("second", agent.instance_id, incremental=True)
    assert second.parent_id == first.id
    complete(user, agent, second.id)
    third = trove.backups.create("third", agent.instance_id, parent_id=first.id)
    assert third.parent_id == first.id
    with pytest.raises(exceptions.UnprocessableEntity, match="instance status was BACKUP"):
        trove.backups.create("fourth", agent.instance_id)
    with pytest.raises(exceptions.UnprocessableEntity, match="cannot be deleted because it is running"):
        trove.backups.delete(first.id)
    complete(user, agent, third.id)

    page = trove.backups.list(limit=2, instance_id=agent.instance_id)
    assert [one.id for one in page] == [third.id, second.id]
    rest = trove.backups.list(limit=2, marker=page.next, instance_id=agent.instance_id)
    assert ([one.id for one in rest], rest.next) == ([first.id], None)
    of_instance = trove.instances.backups(agent.instance_id)
    assert [one.id for one in of_instance] == [third.id, second.id, first.id]
    shown = trove.backups.get(first.id)
    assert (shown.status, shown.size, shown.datastore["version"]) == ("COMPLETED", 0.014, "10.11.6")

    trove.backups.delete(first.id)
    for one in (third, second, first):
        agent.tell("deleted", one.id, "DELETED")
    user.await_status(first.id, None)
    with pytest.raises(exceptions.NotFound):
        trove.backups.get(first.id)
    limits = trove.limits.list()
    assert limits[0].max_backups == 100_000


def test_the_library_understands_every_fault(trove: Any, api: Api, agent: Agent) -> None:
    with pytest.raises(exceptions.BadRequest, match=r"backup\.name"):
        trove.backups.create("x" * 65, agent.instance_id)
    with pytest.raises(exceptions.BadRequest, match="instance is missing"):
        trove.backups.create("fine", None)
    with pytest.raises(exceptions.NotFound, match="cannot be found"):
        trove.backups.create("fine", new_id())
    with pytest.raises(exceptions.BadRequest):
        trove.backups.list(limit=-1)
    with pytest.raises(exceptions.Forbidden):
        trove.backups.list(all_projects=True)
    with pytest.raises(exceptions.MethodNotAllowed):
        trove.client.put("/backups", body={})
    with pytest.raises(exceptions.HttpNotImplemented):
        trove.backups.create("fine", api.add_instance("cache", datastore="redis"))

    from troveclient import client  # noqa: PLC0415 - see above

    for account, token, kind in (("1234", "wrong", exceptions.Unauthorized), ("4321", None, exceptions.Forbidden)):
        endpoint = token_endpoint.Token(f"{api.url}/v1.0/{account}", token or api.add_token())
        with pytest.raises(kind):
            client.Client("1.0", session=session.Session(auth=endpoint)).backups.list()


def test_the_commands_create_list_show_by_name_and_delete(
    openstack: Callable[..., Any], user: User, agent: Agent
) -> None:
    name = f"nightly {agent.instance_id}"
    (known,) = [one for one in openstack("instance", "list") if one["ID"] == agent.instance_id]
    assert (known["Datastore"], known["Status"]) == ("mariadb", "ACTIVE")
    first = openstack("backup", "create", name, "--instance", agent.instance_id, "--description", "by hand")
    assert (first["status"], first["datastore"], first["description"]) == ("NEW", "mariadb", "by hand")
    status, said = openstack("backup", "create", "again", "--instance", agent.instance_id)
    assert status
    assert "HTTP 422" in said
    complete(user, agent, first["id"])
    second = openstack("backup", "create", "more", "--instance", agent.instance_id, "--incremental")
    assert second["parent_id"] == first["id"]
    complete(user, agent, second["id"])
    listed = openstack("backup", "list", "--instance", agent.instance_id)
    assert [(one["ID"], one["Status"], one["Parent ID"]) for one in listed] == [
        (second["id"], "COMPLETED", first["id"]),
        (first["id"], "COMPLETED", None),
    ]
    assert openstack("backup", "show", name)["id"] == first["id"]
    assert openstack("backup", "show", first["id"])["size"] == 0.014
    assert len(openstack("backup", "list", "--instance", agent.instance_id, "--limit", "1")) == 1
    openstack("backup", "delete", first["id"], json_output=False)
    agent.tell("deleted", second["id"], "DELETED")
    agent.tell("deleted", first["id"], "DELETED")
    until(lambda: openstack("backup", "list", "--instance", agent.instance_id) == [], "an empty list")


def test_a_listing_by_command_goes_through_all_pages(openstack: Callable[..., Any], user: User, agent: Agent) -> None:
    ids = [new_id() for _ in range(25)]
    for backup_id in ids:
        agent.completed({"id": backup_id, "name": "by timer"})
    user.await_status(ids[-1], "COMPLETED")
    listed = openstack("backup", "list", "instance", agent.instance_id)
    assert {one["ID"] for one in listed} == set(ids)
    assert len(listed) == len(ids)

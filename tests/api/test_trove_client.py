"""The unmodified Trove client, library and `openstack database` commands, against the API."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keystoneauth1 import session, token_endpoint
from troveclient.apiclient import exceptions

from tests.api.fleet import Agent, new_id
from tests.api.operated import OperatedAgent, Refusal
from tests.api.service import Api, User
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ

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


@pytest.fixture
def operated(broker: PrivateRabbitMQ, instance: str) -> Iterator[OperatedAgent]:
    with OperatedAgent(broker, instance) as agent:
        yield agent


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


def test_the_library_operates_on_an_instance(trove: Any, operated: OperatedAgent) -> None:
    instance = trove.instances.get(operated.instance_id)
    trove.databases.create(instance, [{"name": f"{letter} & co"} for letter in "abc"])
    page = trove.databases.list(instance, limit=2)
    assert [one.name for one in page] == ["a & co", "b & co"]
    rest = trove.databases.list(instance, limit=2, marker=page.next)
    assert ([one.name for one in rest], rest.next) == (["c & co"], None)
    trove.databases.delete(instance, "a & co")
    assert set(operated.databases) == {"b & co", "c & co"}
    trove.users.create(instance, [{"name": "a.clerk", "password": "secret", "databases": [{"name": "b & co"}]}])
    trove.users.create(instance, [{"name": "a.clerk", "password": "secret", "databases": [], "host": "10.0.0.%"}])
    assert [(one.name, one.host) for one in trove.users.list(instance)] == [("a.clerk", "%"), ("a.clerk", "10.0.0.%")]
    trove.users.delete(instance, "a.clerk", "10.0.0.%")
    trove.users.delete(instance, "a.clerk")
    assert operated.users == {}
    instance.restart()
    trove.mgmt_instances.stop(instance.id)
    assert operated.types()[-2:] == ["instance.restart", "instance.stop"]
    with pytest.raises(exceptions.BadRequest, match="It is database_exists"):
        trove.databases.create(instance, [{"name": "b & co"}])
    with pytest.raises(exceptions.NotFound, match="It is user_not_found"):
        trove.users.delete(instance, "nobody")
    operated.refusing = Refusal("REJECTED", "instance_busy", 422, backup_id=new_id())
    with pytest.raises(exceptions.UnprocessableEntity, match="instance status was BACKUP"):
        instance.delete()
    operated.refusing = None
    instance.delete()
    with pytest.raises(exceptions.NotFound):
        trove.instances.get(instance.id)


def test_the_commands_operate_on_an_instance(openstack: Callable[..., Any], operated: OperatedAgent) -> None:
    instance = operated.instance_id
    openstack("db", "create", instance, "shop", "--character_set", "utf8mb4", json_output=False)
    openstack("db", "create", instance, "blog", json_output=False)
    openstack("user", "create", instance, "clerk", "secret", "--databases", "shop", "blog", json_output=False)
    assert openstack("db", "list", instance) == [{"Name": "blog"}, {"Name": "shop"}]
    assert openstack("user", "list", instance) == [{"Name": "clerk", "Host": "%", "Databases": "shop, blog"}]
    openstack("db", "delete", instance, "blog", json_output=False)
    status, said = openstack("db", "delete", instance, "blog", json_output=False)
    assert status
    assert "It is database_not_found" in said
    openstack("user", "delete", instance, "clerk", json_output=False)
    openstack("instance", "restart", instance, json_output=False)
    operated.databases = {f"{number:02}": {"name": f"{number:02}"} for number in range(45)}
    assert len(openstack("db", "list", instance)) == 45
    openstack("instance", "delete", instance, json_output=False)
    assert operated.types()[-1] == "instance.delete"
    assert instance not in {one["ID"] for one in openstack("instance", "list")}

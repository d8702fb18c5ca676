"""Operations on instances by the API: asked of the agent, refused during a backup, answered with the agent's words.

The agents are simulated; the broker and the API are real.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from backup_agent.domain.administration import native_hash
from tests.api.fleet import Agent, new_id
from tests.api.operated import OperatedAgent, Refusal
from tests.api.service import Api, User
from tests.api.test_requests import JSON, fault, message
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

PATIENT = {"operations": {"change_wait_s": 60, "list_wait_s": 60}}
PASSWORD = "Plant3d-Pa55word"


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra=PATIENT) as api:
        yield api
        assert [line for line in api.log if line["level"] == "error"] == []


@pytest.fixture
def agent(broker: PrivateRabbitMQ, instance: str) -> Iterator[OperatedAgent]:
    with OperatedAgent(broker, instance) as agent:
        yield agent


def path(agent: Agent, *parts: str) -> str:
    return "/".join(["/instances", agent.instance_id, *parts])


def every_request(user: User, instance_id: str, *, old: str = "old") -> list[Callable[[], httpx.Response]]:
    """Makes a database and a user `new`, and deletes those called `old`."""
    http, instance = user.http, f"/instances/{instance_id}"
    return [
        lambda: http.post(f"{instance}/databases", json={"databases": [{"name": "new"}]}),
        lambda: http.get(f"{instance}/databases"),
        lambda: http.delete(f"{instance}/databases/{old}"),
        lambda: http.post(f"{instance}/users", json={"users": [{"name": "new", "password": PASSWORD}]}),
        lambda: http.get(f"{instance}/users"),
        lambda: http.delete(f"{instance}/users/{old}"),
        lambda: http.post(f"{instance}/action", json={"restart": {}}),
        lambda: http.post(f"{instance}/action", json={"stop": {}}),
        lambda: http.post(f"/mgmt{instance}/action", json={"stop": {}}),
        lambda: http.delete(instance),
    ]


def status(user: User, agent: Agent) -> str:
    return str(user.http.get(path(agent)).json()["instance"]["status"])


def operation(user: User, agent: Agent, answer: httpx.Response) -> dict[str, Any]:
    found = user.http.get(path(agent, "operations", answer.headers["X-Operation-ID"]))
    assert found.status_code == 200, found.text
    shown: dict[str, Any] = found.json()["operation"]
    return shown


def test_what_was_done_is_answered_when_it_was_done(user: User, agent: OperatedAgent) -> None:
    databases = [{"name": "shop", "character_set": "latin1", "collate": None, "ours": "not"}, {"name": "blog"}]
    made = user.http.post(path(agent, "databases"), json={"databases": databases})
    assert (made.status_code, made.text) == (202, "")
    assert set(agent.databases) == {"shop", "blog"}
    shown = operation(user, agent, made)
    assert (shown["action"], shown["status"], shown["error"]) == ("create_databases", "DONE", None)
    clerk = {"name": "clerk", "password": PASSWORD, "databases": [{"name": "shop"}]}
    user.http.post(path(agent, "users"), json={"users": [clerk, {**clerk, "host": "10.0.0.%"}]})
    assert user.http.get(path(agent, "users")).json() == {
        "users": [
            {"name": "clerk", "host": "%", "databases": [{"name": "shop"}]},
            {"name": "clerk", "host": "10.0.0.%", "databases": [{"name": "shop"}]},
        ]
    }
    user.http.delete(path(agent, "users", "clerk%4010%2e0%2e0%2e%25"))
    assert set(agent.users) == {("clerk", "%")}
    user.http.delete(path(agent, "users", "clerk"))
    assert agent.users == {}
    user.http.delete(path(agent, "databases", "blog"))
    listed = user.http.get(path(agent, "databases")).json()
    assert listed == {"databases": [{"name": "shop", "character_set": "latin1", "collate": "utf8mb4_bin"}]}
    for action in ("restart", "stop"):
        assert user.http.post(path(agent, "action"), json={action: {}}).status_code == 202
    assert agent.types()[-2:] == ["instance.restart", "instance.stop"]
    assert all(command["expires"] for command in agent.heard)


def test_lists_of_names_have_pages(user: User, agent: OperatedAgent) -> None:
    names = sorted(["a", "b&c=d", "grün", "plus +", "日本", "x.y", "z%"])
    agent.databases = {name: {"name": name, "character_set": "utf8mb4", "collate": "utf8mb4_bin"} for name in names}
    page = user.http.get(path(agent, "databases"), params={"limit": 2}).json()
    seen = [one["name"] for one in page["databases"]]
    while "links" in page:
        marker = page["links"][0]["href"].partition("marker=")[2]
        assert marker.isascii()
        page = user.http.get(
            f"{path(agent, 'databases')}?limit=2&marker={marker}"
        ).json()  # unquoted, as Trove's client
        seen += [one["name"] for one in page["databases"]]
    assert seen == names
    for wrong in ("", "!", "_w", "x" * 2000):
        assert fault(user.http.get(path(agent, "users"), params={"marker": wrong})) == (400, "badRequest")


def test_during_a_backup_every_operation_is_refused_and_none_is_sent(user: User, agent: OperatedAgent) -> None:
    backup = user.created(agent.instance_id)
    for request in every_request(user, agent.instance_id):
        answer = request()
        assert fault(answer) == (422, "unprocessableEntity")
        assert message(answer) == (
            f"Instance {agent.instance_id} is not currently available for an action to be performed "
            "(instance status was BACKUP)."
        )
    agent.tell("started", backup, "BUILDING")
    user.await_status(backup["id"], "BUILDING")
    assert {request().status_code for request in every_request(user, agent.instance_id)} == {422}
    agent.completed(backup)
    user.await_status(backup["id"], "COMPLETED")
    assert user.http.get(path(agent, "databases")).status_code == 200
    assert agent.types() == ["backup.create", "instance.list_databases"]


def test_a_backup_that_the_agent_alone_knows_of_is_reason_enough(user: User, agent: OperatedAgent) -> None:
    by_timer = new_id()
    agent.refusing = Refusal("REJECTED", "instance_busy", 422, backup_id=by_timer)
    for request in every_request(user, agent.instance_id):
        answer = request()
        assert fault(answer) == (422, "unprocessableEntity")
        assert "(instance status was BACKUP)" in message(answer)
        assert by_timer in message(answer)
    refused = operation(user, agent, user.http.delete(path(agent, "databases", "old")))
    assert (refused["status"], refused["backup_id"]) == ("REJECTED", by_timer)
    assert status(user, agent) == "ACTIVE", "a refused deletion leaves the instance"


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal("REJECTED", "database_exists", 400), (400, "badRequest")),
        (Refusal("REJECTED", "user_not_found", 404), (404, "itemNotFound")),
        (Refusal("REJECTED", "command_expired", 422), (422, "unprocessableEntity")),
        (Refusal("REJECTED", "administration_unavailable", 501), (501, "notImplemented")),
        (Refusal("REJECTED", "strange", 200), (422, "unprocessableEntity")),
        (Refusal("FAILED", "power_failed", None), (500, "instanceFault")),
        (Refusal("FAILED", "statement_failed", 401), (500, "instanceFault")),
    ],
)
def test_what_was_not_done_is_answered_with_the_agents_reason(
    user: User, agent: OperatedAgent, refusal: Refusal, expected: tuple[int, str]
) -> None:
    agent.refusing = refusal
    for request in every_request(user, agent.instance_id)[:3]:
        answer = request()
        assert fault(answer) == expected
        assert message(answer) == f"It is {refusal.error['code']}."
    refused = operation(user, agent, user.http.post(path(agent, "action"), json={"restart": {}}))
    assert (refused["status"], refused["error"]["code"]) == (refusal.status, refusal.error["code"])


def test_a_list_that_is_none_is_a_fault_of_the_instance(user: User, agent: OperatedAgent) -> None:
    agent.databases = {"x": {"name": 7}}
    assert fault(user.http.get(path(agent, "databases"))) == (500, "instanceFault")


def test_a_deleted_instance_is_gone_and_its_backups_stay(user: User, agent: OperatedAgent) -> None:
    backup = user.created(agent.instance_id)
    agent.completed(backup)
    user.await_status(backup["id"], "COMPLETED")
    deleted = user.http.delete(path(agent))
    assert deleted.status_code == 202
    assert fault(user.http.get(path(agent))) == (404, "itemNotFound")
    assert {request().status_code for request in every_request(user, agent.instance_id)} == {404}
    assert fault(user.create(agent.instance_id)) == (404, "itemNotFound")
    assert operation(user, agent, deleted)["status"] == "DONE"
    assert user.status(backup["id"]) == "COMPLETED"
    listed = user.http.get("/backups", params={"instance_id": agent.instance_id}).json()["backups"]
    assert [one["id"] for one in listed] == [backup["id"]]
    assert user.http.delete(f"/backups/{backup['id']}").status_code == 202


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("databases", {}),
        ("databases", {"databases": []}),
        ("databases", {"databases": {"name": "x"}}),
        ("databases", {"databases": [{"name": 7}]}),
        ("databases", {"databases": [{"name": "mysql"}]}),
        ("databases", {"databases": [{"name": "x", "character_set": "a b"}]}),
        ("databases", {"databases": [{"name": "x"}, {"name": "x"}]}),
        ("databases", {"databases": [{"name": f"x{number}"} for number in range(101)]}),
        ("users", {"users": [{"name": "x"}]}),
        ("users", {"users": [{"name": "x", "password": 7}]}),
        ("users", {"users": [{"name": "x", "password": ""}]}),
        ("users", {"users": [{"name": "x", "password": "\ud800"}]}),
        ("users", {"users": [{"name": "root", "password": "y"}]}),
        ("users", {"users": [{"name": "a@b", "password": "y"}]}),
        ("users", {"users": [{"name": "x", "password": "y", "host": "a b"}]}),
        ("users", {"users": [{"name": "x", "password": "y", "databases": [{"name": "sys"}]}]}),
        ("users", {"users": [{"name": "x", "password": "y", "databases": ["shop"]}]}),
        ("users", {"users": [{"name": "x", "password": "y"}, {"name": "x", "password": "z", "host": "%"}]}),
        ("action", {}),
        ("action", []),
        ("action", {"resize": {"volume": {"size": 2}}}),
        ("action", {"reset_status": {}}),
        ("action", {"restart": {}, "stop": {}}),
        ("action", {"stop": {"now": True}}),
    ],
)
def test_what_is_not_well_said_is_a_bad_request_and_not_sent(
    user: User, agent: OperatedAgent, where: str, body: Any
) -> None:
    answer = user.http.post(path(agent, where), content=json.dumps(body), headers=JSON)
    assert fault(answer) == (400, "badRequest")
    assert user.http.get(path(agent, "users")).status_code == 200
    assert agent.types() == ["instance.list_users"]


def test_anothers_instance_is_not_there_and_one_that_no_agent_operates_says_so(
    api: Api, user: User, agent: OperatedAgent, broker: PrivateRabbitMQ
) -> None:
    stranger = User(api, api.add_token("4321"), "4321")
    assert {fault(request())[0] for request in every_request(stranger, agent.instance_id)} == {404}
    made = user.http.post(path(agent, "databases"), json={"databases": [{"name": "shop"}]})
    shown = stranger.http.get(path(agent, "operations", made.headers["X-Operation-ID"]))
    assert fault(shown) == (404, "itemNotFound")
    stranger.http.close()
    for wrong in (Agent(broker, "no-uuid"), Agent(broker, new_id())):
        assert {fault(request())[0] for request in every_request(user, wrong.instance_id)} == {404}
    cache = Agent(broker, api.add_instance("cache", datastore="redis"))
    assert {fault(request())[0] for request in every_request(user, cache.instance_id)} == {501}
    assert agent.types() == ["instance.create_databases"]
    admin = User(api, api.add_token("4321", admin=True), "4321")
    assert admin.http.delete(path(agent, "databases", "shop")).status_code == 202
    assert agent.heard[-1]["data"]["account_id"] == "1234"
    admin.http.close()


def test_a_name_in_a_path_is_one_part_of_it_however_it_is_written(user: User, agent: OperatedAgent) -> None:
    agent.databases = {name: {} for name in ("a/b", "50%", "q?", "日本", "a+b", "a\nb")}
    for encoded in ("a%2Fb", "50%25", "q%3f", "%E6%97%A5%E6%9C%AC", "a+b", "a%0Ab"):
        assert user.http.delete(path(agent, "databases", encoded)).status_code == 202
    assert agent.databases == {}
    assert fault(user.http.delete(path(agent, "databases", "a", "b"))) == (404, "itemNotFound")
    assert fault(user.http.delete(path(agent, "users", "clerk", "databases", "shop"))) == (404, "itemNotFound")
    assert fault(user.http.delete(path(agent, "databases", "%ff"))) == (400, "badRequest")
    assert fault(user.http.delete(path(agent, "databases", ""))) == (400, "badRequest")


def test_a_password_leaves_no_trace(api: Api, user: User, agent: OperatedAgent) -> None:
    planted = {"name": "clerk", "password": PASSWORD}
    answers = [
        user.http.post(path(agent, "users"), json={"users": [one]})
        for one in (
            planted,
            {**planted, "name": "root"},
            {**planted, "password": f"{PASSWORD}\n"},
            {**planted, "host": "a b"},
            {**planted, "name": None},
            {**planted, "password": [PASSWORD]},
            {PASSWORD: PASSWORD},
        )
    ]
    broken = json.dumps({"users": [planted]})[:-4]
    answers.append(user.http.post(path(agent, "users"), content=broken, headers=JSON))
    assert [answer.status_code for answer in answers] == [202, *[400] * 7]
    assert [one["password_hash"] for one in agent.heard[-1]["data"]["users"]] == [native_hash(PASSWORD)]
    where = {
        "answers": "".join(answer.text for answer in answers),
        "messages": json.dumps(agent.heard),
        "log": api.text,
        "files": "".join(file.read_bytes().decode("latin-1") for file in api.base.rglob("*") if file.is_file()),
    }
    assert [name for name, text in where.items() if re.search("Plant3d", text, re.IGNORECASE)] == []
    assert native_hash(PASSWORD) not in where["log"] + where["answers"]


def test_an_answer_counts_once_and_from_the_agent_that_was_asked_alone(
    api: Api, user: User, broker: PrivateRabbitMQ
) -> None:
    agent, stranger = (Agent(broker, api.add_instance()) for _ in range(2))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.http.delete, path(agent))
        (command,) = agent.await_commands(1)
        assert status(user, agent) == "SHUTDOWN"
        assert fault(user.http.delete(path(agent))) == (422, "unprocessableEntity")
        stranger.answer(command)
        agent.answer({**command, "type": "instance.stop"})
        agent.answer({**command, "id": new_id()})
        agent.answer({**command, "id": "of another platform"})
        error = {"code": "power_failed", "message": "the server still accepts connections", "hint": "h", "status": None}
        agent.answer(command, "FAILED", error=error)
        answer = asked.result()
    assert fault(answer) == (500, "instanceFault")
    done = agent.answer(command)
    agent.send_answer(done)
    probe = new_id()
    agent.completed({"id": probe, "name": "probe"})
    user.await_status(probe, "COMPLETED")
    assert operation(user, agent, answer)["error"]["code"] == "power_failed"
    assert status(user, agent) == "ACTIVE"
    refused = [line for line in api.log if line["event"].startswith("an answer was refused")]
    assert [line["instance_id"] for line in refused] == [stranger.instance_id, agent.instance_id]


def test_a_stopped_instance_is_shown_to_be_down_until_it_runs_again(user: User, agent: OperatedAgent) -> None:
    def act(action: str) -> str:
        assert user.http.post(path(agent, "action"), json={action: {}}).status_code == 202
        return status(user, agent)

    assert act("stop") == "SHUTDOWN"
    listed = user.http.get("/instances", params={"limit": 100}).json()["instances"]
    assert [one["status"] for one in listed if one["id"] == agent.instance_id] == ["SHUTDOWN"]
    assert user.http.get(path(agent, "users")).status_code == 200, "the agent knows better whether that can be done"
    assert act("restart") == "ACTIVE"
    assert act("stop") == "SHUTDOWN"
    agent.heartbeat(server_running=True)  # somebody has started it by hand
    until(lambda: status(user, agent) == "ACTIVE", "the instance is up")


def test_what_is_being_deleted_is_not_backed_up_until_that_is_refused(
    api: Api, user: User, broker: PrivateRabbitMQ
) -> None:
    agent = Agent(broker, api.add_instance())
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.http.delete, path(agent))
        (command,) = agent.await_commands(1)
        refused = user.create(agent.instance_id)
        assert fault(refused) == (422, "unprocessableEntity")
        assert "(instance status was SHUTDOWN)" in message(refused)
        assert user.http.get(path(agent, "backups")).json() == {"backups": []}
        error = {"code": "administration_unavailable", "message": "it is not", "hint": "h", "status": 501}
        agent.answer(command, "REJECTED", error=error)
        assert asked.result().status_code == 501
    backup = user.created(agent.instance_id)
    (sent,) = agent.await_commands(1)
    assert sent["data"]["backup"]["id"] == backup["id"]


def test_while_it_is_restarted_an_instance_says_so(api: Api, user: User, broker: PrivateRabbitMQ) -> None:
    agent = Agent(broker, api.add_instance())
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(user.http.post, path(agent, "action"), json={"restart": {}})
        (command,) = agent.await_commands(1)
        assert status(user, agent) == "REBOOT"
        listed = user.http.get("/instances", params={"limit": 100}).json()["instances"]
        assert [one["status"] for one in listed if one["id"] == agent.instance_id] == ["REBOOT"]
        assert user.create(agent.instance_id).status_code == 202, "the backup waits at the agent"
        assert status(user, agent) == "BACKUP"
        agent.answer(command)
        assert asked.result().status_code == 202
    until(agent.commands, "the command to back up")

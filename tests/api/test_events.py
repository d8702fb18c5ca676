"""What agents tell, and what users see of it. The agents are simulated; the broker and the API are real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backup_agent.broker.topology import EVENTS, EVENTS_QUEUE
from tests.api.fleet import Agent, an_hour_ago, new_id
from tests.api.service import Api, User
from tests.api.test_requests import fault
from tests.faults.waiting import until
from tests.integration.brokered import dead_letter
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server


def all_heard(user: User, agent: Agent) -> None:
    """Returns when all that was told so far was heard: events are, in their order."""
    probe = new_id()
    agent.completed({"id": probe, "name": "probe"})
    user.await_status(probe, "COMPLETED")


@pytest.fixture
def backup(user: User, agent: Agent) -> dict[str, Any]:
    """One that its agent has been told of."""
    backup = user.created(agent.instance_id)
    agent.await_commands(1)
    return backup


def test_a_backup_goes_from_new_by_building_to_completed(user: User, agent: Agent, backup: dict[str, Any]) -> None:
    agent.tell("accepted", backup, "NEW")
    agent.tell("started", backup, "BUILDING")
    user.await_status(backup["id"], "BUILDING")
    agent.tell("progress", backup, "BUILDING", phase="copying", percent=52)
    until(lambda: (user.backup(backup["id"]) or {})["progress"] == 52, "the progress")
    agent.completed(backup)
    shown = user.await_status(backup["id"], "COMPLETED")
    assert shown is not None
    assert shown["progress"] == 100
    assert shown["size"] == 0.014
    assert shown["locationRef"].endswith(f"{backup['id']}/manifest.json")
    assert shown["checksum"] == "ab" * 32
    assert shown["datastore"] == {"type": "mariadb", "version": "10.11.6", "version_id": "mariadb-10.11.6"}
    assert shown["created"] == backup["created"]


@pytest.mark.parametrize("kind", ["failed", "rejected"])
def test_a_failed_backup_says_why_and_frees_the_instance(
    user: User, agent: Agent, backup: dict[str, Any], kind: str
) -> None:
    agent.fail(backup, kind)
    shown = user.await_status(backup["id"], "FAILED")
    assert shown is not None
    assert shown["error"] == {
        "code": "engine_failed",
        "message": "the engine ended with status 1",
        "hint": "Read its log.",
    }
    assert user.create(agent.instance_id).status_code == 202


def test_an_event_that_comes_twice_or_late_changes_nothing(user: User, agent: Agent, backup: dict[str, Any]) -> None:
    started = agent.tell("started", backup, "BUILDING")
    progress = agent.tell("progress", backup, "BUILDING", percent=52)
    agent.completed(backup)
    for body, kind in ((progress, "progress"), (started, "started"), (progress, "progress")):
        agent.send(body, kind)
    all_heard(user, agent)
    shown = user.backup(backup["id"])
    assert shown is not None
    assert (shown["status"], shown["progress"]) == ("COMPLETED", 100)


def test_what_no_backup_can_become_is_not_believed(api: Api, user: User, agent: Agent, backup: dict[str, Any]) -> None:
    agent.completed(backup)
    agent.tell("started", backup, "BUILDING")
    agent.fail(backup)
    all_heard(user, agent)
    assert user.status(backup["id"]) == "COMPLETED"
    refused = [line for line in api.lines("an event was refused") if line["backup_id"] == backup["id"]]
    assert [(line["why"], line["told"]) for line in refused] == [("impossible", "BUILDING"), ("impossible", "FAILED")]


def test_an_event_of_another_instance_is_not_believed(
    api: Api, user: User, agent: Agent, backup: dict[str, Any], broker: PrivateRabbitMQ
) -> None:
    stranger = Agent(broker, api.add_instance("stranger"))
    stranger.completed(backup)
    all_heard(user, stranger)
    assert user.status(backup["id"]) == "NEW"
    agent.complete(backup)
    user.await_status(backup["id"], "COMPLETED")


def test_an_event_under_another_instances_routing_key_goes_to_the_dead_letters(
    user: User, agent: Agent, backup: dict[str, Any], broker: PrivateRabbitMQ
) -> None:
    body = agent.event("completed", backup, "COMPLETED", sequence=9)
    thief = Agent(broker, new_id())
    thief.send(body, "completed")
    with broker.connect() as connection:
        headers, kept = dead_letter(connection.channel())
    assert (headers["x-code"], headers["x-queue"], kept) == ("wrong_instance", "backup.events.api", body)
    assert user.status(backup["id"]) == "NEW"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{}",
        b"[" * 5000,
        b'{"specversion": "1.0"}',
        json.dumps(["backup.completed"]).encode(),
    ],
)
def test_what_nobody_can_understand_goes_to_the_dead_letters_and_stops_nobody(
    user: User, agent: Agent, broker: PrivateRabbitMQ, body: bytes
) -> None:
    agent.send(body, "completed")
    with broker.connect() as connection:
        headers, kept = dead_letter(connection.channel())
    assert (headers["x-code"], kept) == ("invalid_message", body)
    all_heard(user, agent)


def test_good_and_bad_ones_in_one_batch_all_leave_the_queue(
    api: Api, user: User, agent: Agent, broker: PrivateRabbitMQ
) -> None:
    key = f"{agent.instance_id}.backup.completed"
    with broker.connect() as connection:
        channel = connection.channel()
        for number in range(40):
            good = agent.event("accepted", {"id": new_id(), "name": "many"}, "COMPLETED")
            channel.basic_publish(EVENTS, key, b"{" if number % 4 == 1 else good)
        assert [dead_letter(channel)[1] for _ in range(10)] == [b"{"] * 10
    all_heard(user, agent)
    until(
        lambda: f"{EVENTS_QUEUE}\t0" in broker.ctl("list_queues", "name", "messages"),
        "no message that is not acknowledged",
    )
    assert api.lines("no connection to the broker; trying again until there is one") == []


def test_an_event_with_values_that_can_not_be_stored_is_a_dead_letter(
    user: User, agent: Agent, broker: PrivateRabbitMQ
) -> None:
    agent.tell("completed", {"id": new_id(), "name": "x" * 65}, "COMPLETED")
    agent.tell("completed", {"id": new_id(), "name": "a\0b"}, "COMPLETED")
    agent.tell("completed", {"id": new_id()}, "COMPLETED", sequence=1 << 60)
    agent.tell("completed", {"id": new_id()}, "NOWHERE")
    with broker.connect() as connection:
        channel = connection.channel()
        assert [dead_letter(channel)[0]["x-code"] for _ in range(4)] == ["invalid_message"] * 4
    all_heard(user, agent)


def test_words_of_an_error_that_are_no_text_are_kept_as_well_as_they_can_be(
    user: User, agent: Agent, backup: dict[str, Any]
) -> None:
    error = {"code": "engine_failed", "message": "file \udcff\0" + "x" * 9000, "hint": "h", "status": None}
    agent.tell("failed", backup, "FAILED", error=error)
    shown = user.await_status(backup["id"], "FAILED")
    assert shown is not None
    assert shown["error"]["message"].startswith("file ?xxx")


def test_a_backup_that_nobody_asked_the_api_for_is_there_all_the_same(user: User, agent: Agent) -> None:
    backup_id = new_id()
    parent = new_id()
    agent.completed({"id": parent, "name": "full of sunday", "created": "2026-01-01T00:00:00"})
    agent.complete({"id": backup_id, "name": "by timer", "description": "nightly", "parent_id": parent})
    shown = user.await_status(backup_id, "COMPLETED")
    assert shown is not None
    assert (shown["name"], shown["description"], shown["project_id"]) == ("by timer", "nightly", "1234")
    assert shown["parent_id"] == parent
    assert (user.backup(parent) or {})["created"] == "2026-01-01T00:00:00"
    assert user.http.delete(f"/backups/{parent}").status_code == 202
    assert [one["data"]["backup_id"] for one in agent.await_commands(2)] == [backup_id, parent]


def test_a_backup_by_timer_keeps_users_from_another_until_it_has_ended(user: User, agent: Agent) -> None:
    backup_id = new_id()
    agent.tell("started", backup_id, "BUILDING")
    user.await_status(backup_id, "BUILDING")
    assert fault(user.create(agent.instance_id)) == (422, "unprocessableEntity")
    agent.fail(backup_id)
    user.await_status(backup_id, "FAILED")
    assert user.create(agent.instance_id).status_code == 202


def test_a_backup_by_timer_is_seen_also_beside_one_that_was_asked_for(
    user: User, agent: Agent, backup: dict[str, Any]
) -> None:
    by_timer = new_id()
    agent.tell("started", by_timer, "BUILDING")
    user.await_status(by_timer, "BUILDING")
    agent.fail(backup, "rejected", "instance_busy")
    user.await_status(backup["id"], "FAILED")
    agent.completed(by_timer)
    user.await_status(by_timer, "COMPLETED")


def test_a_timer_that_found_the_instance_busy_leaves_no_failed_backup(user: User, agent: Agent) -> None:
    busy, refused = new_id(), new_id()
    agent.fail(busy, "rejected", "instance_busy")
    agent.fail(refused, "rejected", "lineage_changed")
    user.await_status(refused, "FAILED")
    assert user.backup(busy) is None


def test_backups_of_instances_that_nobody_registered_are_nobodys(
    api: Api, user: User, agent: Agent, broker: PrivateRabbitMQ
) -> None:
    unknown = new_id()
    Agent(broker, new_id()).completed(unknown)
    all_heard(user, agent)
    admin = User(api, api.add_token("1234", admin=True))
    assert admin.backup(unknown) is None
    admin.http.close()


def test_a_deleted_backup_is_not_brought_back_by_a_late_event(user: User, agent: Agent, backup: dict[str, Any]) -> None:
    started = agent.tell("started", backup, "BUILDING")
    agent.completed(backup)
    agent.tell("deleted", backup, "DELETED")  # of itself: it has expired
    user.await_status(backup["id"], None)
    agent.send(started, "started")
    all_heard(user, agent)
    assert user.backup(backup["id"]) is None


def test_a_deleted_backup_that_completes_after_all_is_deleted_where_it_is(
    user: User, agent: Agent, backup: dict[str, Any]
) -> None:
    agent.fail(backup)
    user.await_status(backup["id"], "FAILED")
    agent.tell("deleted", backup, "DELETED")
    user.await_status(backup["id"], None)
    agent.completed(backup)
    (command,) = agent.await_commands(1)
    assert (command["type"], command["data"]["backup_id"]) == ("backup.delete", backup["id"])
    assert user.backup(backup["id"]) is None


def test_an_agent_that_has_forgotten_a_backup_counts_from_one_when_it_deletes_it(user: User, agent: Agent) -> None:
    backup_id = new_id()
    agent.tell("started", backup_id, "BUILDING", sequence=40, time=an_hour_ago())
    completed = agent.event("completed", backup_id, "COMPLETED", sequence=41, time=an_hour_ago(), percent=100)
    agent.send(completed, "completed")
    user.await_status(backup_id, "COMPLETED")
    user.http.delete(f"/backups/{backup_id}")
    agent.tell("deleted", backup_id, "DELETED", sequence=1)
    user.await_status(backup_id, None)


def test_a_verified_backup_says_when(user: User, agent: Agent, backup: dict[str, Any]) -> None:
    agent.completed(backup)
    passed = {"result": "passed"}
    agent.tell("verified", backup, "COMPLETED", verified_at="2026-11-25T12:00:00", verification=passed)
    until(lambda: (user.backup(backup["id"]) or {})["verified_at"] == "2026-11-25T12:00:00", "when it was verified")
    away = {"code": "store_unreachable", "message": "the store is away", "hint": "Wait.", "status": None}
    agent.tell("verified", backup, "COMPLETED", error=away)  # which says nothing of the backup
    all_heard(user, agent)
    shown = user.backup(backup["id"])
    assert shown is not None
    assert (shown["verified_at"], shown["error"]) == ("2026-11-25T12:00:00", None)


def test_a_backup_that_can_not_be_relied_on_says_so_and_stays_completed(
    user: User, agent: Agent, backup: dict[str, Any]
) -> None:
    agent.completed(backup)
    error = {"code": "verification_failed", "message": "a chunk is damaged", "hint": "Take a new one.", "status": None}
    agent.tell("verified", backup, "COMPLETED", error=error, verification={"result": "failed"})
    until(lambda: (user.backup(backup["id"]) or {})["error"], "what is wrong with it")
    shown = user.backup(backup["id"])
    assert shown is not None
    assert (shown["status"], shown["verified_at"], shown["progress"]) == ("COMPLETED", None, 100)
    assert shown["error"]["code"] == "verification_failed"


def test_a_deletion_that_was_refused_leaves_a_backup_that_can_be_continued(
    user: User, agent: Agent, backup: dict[str, Any]
) -> None:
    agent.completed(backup)
    user.await_status(backup["id"], "COMPLETED")
    user.http.delete(f"/backups/{backup['id']}")
    error = {"code": "backup_pinned", "message": "it is pinned", "hint": "Unpin it.", "status": 422}
    agent.tell("delete_failed", backup, "DELETE_FAILED", error=error)
    user.await_status(backup["id"], "DELETE_FAILED")
    assert user.created(agent.instance_id, incremental=1)["parent_id"] == backup["id"]


def test_a_deletion_of_what_is_not_there_has_succeeded(user: User, agent: Agent, backup: dict[str, Any]) -> None:
    agent.fail(backup)
    user.await_status(backup["id"], "FAILED")
    user.http.delete(f"/backups/{backup['id']}")
    error = {"code": "backup_not_found", "message": "no such backup", "hint": "List them.", "status": 404}
    forgotten = {"id": backup["id"], "name": None, "created": None}
    agent.tell("delete_failed", forgotten, "DELETE_FAILED", error=error, sequence=1_764_000_000)
    user.await_status(backup["id"], None)


def test_heartbeats_tell_which_database_it_is(api: Api, user: User, broker: PrivateRabbitMQ) -> None:
    agent = Agent(broker, new_id())
    api.add_instance("unversioned", instance_id=agent.instance_id, version=None)
    backup = user.created(agent.instance_id)
    assert "datastore" not in backup
    agent.heartbeat()

    def version() -> object:
        return user.http.get(f"/instances/{agent.instance_id}").json()["instance"]["datastore"]["version"]

    until(lambda: version() == "10.11.6", "the version")

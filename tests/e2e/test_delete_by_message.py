"""`backup.delete` of a platform: taken over, carried out by the daemon, and told of."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup_agent.instance.lock import InstanceLock, LockHolder
from tests.agent import ACCOUNT
from tests.daemon import FAST, Platform, at_work, command, create
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.conftest import CREATE_SHOP
from tests.faults.stalls import notes_are_written
from tests.faults.test_daemon import id_of
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ
from tests.shelves import Shelf, fill, restores, stored

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, shared_mariadb: PrivateMariaDB) -> Shelf:
    shared_mariadb.execute("DROP DATABASE IF EXISTS shop", *CREATE_SHOP)
    return fill(tmp_path_factory.mktemp("shelf"), shared_mariadb)


@pytest.fixture
def agent(shelf: Shelf, tmp_path: Path, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    broker = {"urls": [shared_rabbitmq.url], "user": USER, "password": PASSWORD, **FAST}
    return shelf.copy(tmp_path / "agent", {**SMALL_CHUNKS, "broker": broker})


@pytest.fixture
def platform(agent: ConfinedAgent, rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(rabbitmq, agent) as platform:
        yield platform


def delete(backup_id: str, **changes: Any) -> dict[str, Any]:
    return command("backup.delete", {"backup_id": backup_id, "account_id": ACCOUNT, **changes})


def error_of(event: dict[str, Any]) -> tuple[str, int | None]:
    error = event["data"]["error"]
    return error["code"], error["status"]


def all_told(platform: Platform) -> None:
    """Returns when all commands so far were taken over, and what was told then has come: both go in their order."""
    nobody = str(uuid.uuid4())
    platform.send(delete(nobody))
    platform.await_event(nobody, "backup.delete_failed")


def test_a_chain_goes_each_backup_is_told_of_and_a_command_that_comes_again_hears_the_same(
    agent: ConfinedAgent, platform: Platform, shelf: Shelf, tmp_path: Path
) -> None:
    message = delete(shelf.base)
    with at_work(agent, platform) as daemon:
        platform.send(message, message)
        platform.await_event(shelf.base, "backup.deleted")
        told = [platform.events(backup_id) for backup_id in shelf.first_chain - {shelf.base}]
        all_told(platform)
        twice = len(platform.events(shelf.base)) == 2  # the second one came when all was done
        platform.send(message)
        until(lambda: len(platform.events(shelf.base)) == 2 + twice, "the event again")
        platform.send(delete(shelf.base))
        until(lambda: len(platform.events(shelf.base)) == 3 + twice, "one of a deletion of what is gone")
        assert daemon.stop().status == 0
    assert [[event["type"] for event in events] for events in told] == [["backup.deleted"]] * 3
    first, *again, third = platform.events(shelf.base)
    assert again == [first] * (1 + twice)
    assert (first["type"], third["type"]) == ("backup.deleted", "backup.deleted")
    assert third["data"]["sequence"] == first["data"]["sequence"] + 1
    data = first["data"]
    assert (data["status"], data["name"], data["locationRef"], data["error"]) == ("DELETED", "base", None, None)
    assert data["sequence"] > 1_700_000_000, "the journal knew nothing of it"
    assert stored(agent) == shelf.second_chain
    restores(agent, shelf.others_child, tmp_path / "restored", shelf.rows)


def test_events_of_a_backup_that_the_journal_knows_are_counted_on(agent: ConfinedAgent, platform: Platform) -> None:
    message = create(agent)
    with at_work(agent, platform):
        platform.send(message)
        completed = platform.await_end(id_of(message))
        platform.send(delete(id_of(message)))
        deleted = platform.await_event(id_of(message), "backup.deleted")
    assert deleted["data"]["sequence"] == completed["data"]["sequence"] + 1
    assert deleted["data"]["checksum"] == completed["data"]["checksum"]


def test_what_can_not_be_deleted_is_told_with_the_reason_and_stays(
    agent: ConfinedAgent, platform: Platform, shelf: Shelf
) -> None:
    unknown = str(uuid.uuid4())
    assert agent.run("pin", shelf.grandchild).status == 0
    with at_work(agent, platform) as daemon:
        platform.send(delete(shelf.base), delete(unknown), delete(shelf.twin, account_id="other"), b"{}")
        pinned = platform.await_event(shelf.base, "backup.delete_failed")
        missing = platform.await_event(unknown, "backup.delete_failed")
        letters: list[Any] = []

        def both_are_there() -> bool:
            letters.extend(platform.dead_letters())
            return len(letters) == 2

        until(both_are_there, "the dead letters")
        assert not daemon.said("internal error")
    assert (error_of(pinned), pinned["data"]["status"]) == (("backup_pinned", 422), "DELETE_FAILED")
    assert pinned["data"]["checksum"] is not None
    assert error_of(missing) == ("backup_not_found", 404)
    assert {headers["x-code"] for headers, _ in letters} == {"backup_not_found", "invalid_message"}
    assert platform.events(shelf.twin) == []
    assert stored(agent) == shelf.first_chain | shelf.second_chain


def test_a_parent_is_not_deleted_under_a_running_backup_and_other_chains_wait_for_it(
    agent: ConfinedAgent, platform: Platform, shelf: Shelf
) -> None:
    child = create(agent, parent_id=shelf.others_child)
    with at_work(agent, platform), notes_are_written(shelf.server) as release:
        platform.send(child)
        platform.await_event(id_of(child), "backup.started")
        platform.send(delete(shelf.others_child), delete(shelf.other), delete(shelf.base))
        refused = platform.await_event(shelf.others_child, "backup.delete_failed")
        assert not platform.events(shelf.base), "it waits"
        release()
        assert platform.await_end(id_of(child))["type"] == "backup.completed"
        late = platform.await_event(shelf.other, "backup.delete_failed")
        platform.await_event(shelf.base, "backup.deleted")
    assert error_of(refused) == error_of(late) == ("backup_in_use", 422)
    assert stored(agent) == shelf.second_chain | {id_of(child)}


def test_a_deletion_waits_for_whoever_has_the_instance_unless_he_needs_the_backup(
    agent: ConfinedAgent, platform: Platform, shelf: Shelf
) -> None:
    lock = InstanceLock(agent.runtime_dir, agent.instance_id)
    with at_work(agent, platform) as daemon:
        with lock.acquire(LockHolder.here("restore", shelf.grandchild, datetime.now(UTC))):
            platform.send(delete(shelf.base), delete(shelf.other))
            assert error_of(platform.await_event(shelf.base, "backup.delete_failed")) == ("backup_in_use", 422)
            daemon.await_word("a command waits for the instance")
            shown = agent.run("status", "--json").json["status"]
            assert [task["backup_id"] for task in shown["tasks"]] == [shelf.other]
            assert platform.events(shelf.other) == []
        platform.await_event(shelf.other, "backup.deleted")
    assert stored(agent) == shelf.first_chain


def test_a_command_that_comes_too_late_is_not_carried_out(
    agent: ConfinedAgent, platform: Platform, shelf: Shelf
) -> None:
    with at_work(agent, platform):
        platform.send({**delete(shelf.twin), "expires": "2026-01-01T00:00:00Z"})
        assert error_of(platform.await_event(shelf.twin, "backup.delete_failed")) == ("command_expired", 422)
    assert shelf.twin in stored(agent)


def test_a_deletion_by_hand_is_refused_while_the_daemon_takes_a_backup_of_the_chain(
    agent: ConfinedAgent, shelf: Shelf
) -> None:
    with notes_are_written(shelf.server) as release, Running(agent, "run-once", "--parent", shelf.twin) as running:
        running.await_word("backup.progress", phase="blocking")
        outcome = agent.run("delete", shelf.base, "--cascade")
        assert (outcome.status, outcome.error["code"]) == (5, "backup_in_use")
        release()
        assert running.end().status == 0
    assert shelf.first_chain <= stored(agent)

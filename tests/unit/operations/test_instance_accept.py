"""Messages that ask for operations on the instance: taken over, refused at once, or put aside; and no password kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_agent.app.administration import administered
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import load
from backup_agent.domain.administration import native_hash
from backup_agent.domain.instance_command import CreateUsers, NewUser
from backup_agent.errors import BackupAgentError, BusyError, RejectedError
from backup_agent.inbox.interface import Refused
from backup_agent.inbox.wire import may_hold_secret, parse_command
from backup_agent.instance.administration_sighting import Sighting
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.journal.tasks import Task
from backup_agent.operations.accept import Acceptance
from backup_agent.operations.instance_secrets import concealed, revealed
from backup_agent.operations.instance_wait import Operated, backup_lock, too_late
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import carry_out
from tests.administered import ask
from tests.daemon import create
from tests.unit.operations.wired import Desk

PASSWORD = "Plant3d"


@pytest.fixture
def services(desk: Desk) -> BackupServices:
    desk.agent.with_config("[journal]", "[administration]\nenabled = true\nbackup_wait_s = 0.3\n[journal]")
    config = load(desk.agent.config_file)
    return replace(
        desk.services,
        administration=administered(config, Sighting()),
        operation_wait=config.administration.backup_wait_s,
    )


def take(desk: Desk, services: BackupServices, message: dict[str, Any]) -> Refused | None:
    accept = Acceptance(
        desk.journal,
        services.policy,
        services.clock,
        services.reporter,
        on_job=lambda: None,
        on_cancel=lambda _: None,
        administration=services.administration,
    )
    return accept(json.dumps(message).encode())


def the_task(desk: Desk) -> Task:
    (task,) = desk.journal.tasks()
    return task


def told(desk: Desk) -> list[tuple[str, str, str | None, int | None]]:
    """Type, request, code and status of each answer."""
    found = []
    for one in desk.journal.pending(100):
        if one.type.startswith("instance."):
            event = json.loads(one.body)
            error = event["data"]["error"] or {}
            assert event["subject"] == event["data"]["request_id"] == one.backup_id
            found.append((event["type"], event["subject"], error.get("code"), error.get("status")))
    return found


def users(desk: Desk, **changes: Any) -> dict[str, Any]:
    return ask(desk.agent, "create_users", users=[{"name": "u", "password": PASSWORD, **changes}])


def test_a_command_waits_on_disk_with_the_hash_beside_it(desk: Desk, services: BackupServices) -> None:
    message = users(desk, databases=[{"name": "shop"}])
    assert take(desk, services, message) is None
    assert take(desk, services, message) is None, "the same again is the same task"
    task = the_task(desk)
    assert json.loads(task.command)["users"] == [{"name": "u", "host": "%", "databases": [{"name": "shop"}]}]
    assert json.loads(task.notes or "")["hashes"] == [native_hash(PASSWORD)]
    assert PASSWORD not in f"{task} {desk.heard.events}"
    assert told(desk) == []


def test_a_command_is_the_same_after_it_was_written_down() -> None:
    ids = {"instance_id": "44b277eb-39be-4921-be31-3d61b43651d7", "account_id": "1234"}
    command = CreateUsers.model_validate_json(json.dumps({**ids, "users": [{"name": "u", "password": PASSWORD}]}))
    assert PASSWORD not in repr(command)
    text, hashes = concealed(command)
    assert native_hash(PASSWORD) not in text
    again = revealed(CreateUsers, text, hashes)
    assert isinstance(again, CreateUsers)
    (user,) = again.users
    assert user == NewUser(name="u", password_hash=native_hash(PASSWORD))


def test_where_operations_are_not_enabled_that_is_the_answer(desk: Desk) -> None:
    message = ask(desk.agent, "restart")
    assert take(desk, desk.services, message) is None
    assert told(desk) == [("instance.rejected", message["id"], "administration_unavailable", 501)]
    assert desk.journal.tasks() == []


def test_a_command_for_another_instance_or_account_goes_to_the_dead_letters(
    desk: Desk, services: BackupServices
) -> None:
    for changes in ({"account_id": "other"}, {"instance_id": "44b277eb-39be-4921-be31-3d61b43651d7"}):
        refused = take(desk, services, ask(desk.agent, "stop", **changes))
        assert refused is not None
        assert refused.code == "wrong_instance"
    assert told(desk) == []


def test_while_a_backup_waits_each_operation_is_refused_with_its_id(desk: Desk, services: BackupServices) -> None:
    backup = create(desk.agent)
    take(desk, services, backup)
    message = ask(desk.agent, "delete_database", name="shop")
    for _ in range(2):
        take(desk, services, message)
    assert told(desk) == [("instance.rejected", message["id"], "instance_busy", 422)] * 2
    data = json.loads(desk.journal.pending(10)[-1].body)["data"]
    assert data["backup_id"] == backup["data"]["backup"]["id"]
    assert desk.journal.tasks() == []


def test_a_lock_that_a_backup_of_another_process_holds_is_reason_enough(desk: Desk, services: BackupServices) -> None:
    message = ask(desk.agent, "list_users")
    take(desk, services, message)
    lock = InstanceLock(desk.agent.runtime_dir, desk.agent.instance_id)
    holder = LockHolder.here("backup", desk.shelf.base, datetime.now(UTC))
    with lock.acquire(holder), pytest.raises(RejectedError):
        carry_out(the_task(desk), services, Cancellation())
    assert told(desk) == [("instance.rejected", message["id"], "instance_busy", 422)]


def test_a_command_that_came_too_late_is_not_begun(desk: Desk, services: BackupServices) -> None:
    late = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    message = {**ask(desk.agent, "restart"), "expires": late}
    take(desk, services, message)
    assert told(desk) == [("instance.rejected", message["id"], "command_expired", 422)]


def test_a_server_that_is_away_is_a_failure_and_no_refusal(desk: Desk, services: BackupServices) -> None:
    message = ask(desk.agent, "list_databases")
    take(desk, services, message)
    with pytest.raises(BackupAgentError):
        carry_out(the_task(desk), services, Cancellation())
    assert told(desk) == [("instance.failed", message["id"], "database_unreachable", None)]


def test_a_backup_waits_for_an_operation_and_no_longer_than_it_is_to(desk: Desk, services: BackupServices) -> None:
    lock = InstanceLock(desk.agent.runtime_dir, desk.agent.instance_id)
    operation = LockHolder.here("instance.restart", None, datetime.now(UTC))
    with (
        lock.acquire(operation),
        pytest.raises(BusyError),
        backup_lock(services, desk.shelf.base, Cancellation()),
    ):
        pass
    with backup_lock(services, desk.shelf.base, Cancellation()):
        pass


def test_a_backup_that_operations_kept_waiting_for_too_long_is_refused(services: BackupServices) -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    operated = Operated("instance.restart", noon, noon + timedelta(seconds=10))
    assert too_late(services, noon + timedelta(seconds=9.8), operated) is None
    assert too_late(services, noon + timedelta(seconds=11), operated) is None
    for received in (noon + timedelta(seconds=1), noon - timedelta(hours=1)):
        refused = too_late(services, received, operated)
        assert refused is not None
        assert "instance.restart went on for longer than 0.3 s" in refused.message
    short = Operated("instance.restart", noon, noon + timedelta(seconds=0.2))
    assert too_late(services, noon - timedelta(hours=1), short) is None, "the agent was away, not busy"


@pytest.mark.parametrize(
    "changes",
    [
        {"password_hash": native_hash("x")},
        {"password": None},
        {"passwort": "x"},
        {"databases": [{"name": "x"}] * 101},
        {"name": "n" * 1025},
    ],
)
def test_what_is_no_such_command_is_not_understood_and_shows_no_password(desk: Desk, changes: dict[str, Any]) -> None:
    body = json.dumps(users(desk, **changes)).encode()
    with pytest.raises(RejectedError) as caught:
        parse_command(body)
    assert caught.value.code == "invalid_message"
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    assert may_hold_secret(body)
    assert not may_hold_secret(b'{"type": "backup.create"}')


@pytest.mark.parametrize("request_id", ["", "x" * 256])
def test_an_id_that_could_not_be_answered_by_is_refused(desk: Desk, request_id: str) -> None:
    with pytest.raises(RejectedError, match="id: must have 1 to 255 characters"):
        parse_command(json.dumps({**ask(desk.agent, "stop"), "id": request_id}).encode())


def test_a_configuration_names_commands_only_for_power_by_command(desk: Desk, tmp_path: Path) -> None:
    text = desk.agent.config_file.read_text()
    for wrong in ('power = "command"', 'restart_command = ["true"]', 'password = "x"\npassword_file = "/x"'):
        file = tmp_path / "wrong.toml"
        file.write_text(f"{text}\n[administration]\n{wrong}\n")
        with pytest.raises(BackupAgentError, match="administration: "):
            load(file)

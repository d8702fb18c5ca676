"""That agents and the control plane understand each other: what one writes, the other reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backup_agent.api import commands
from backup_agent.api.relay.hearing import AgentTold, AnswerTold, BackupTold, parse_event
from backup_agent.domain import resource
from backup_agent.domain.command import BackupRequest, CreateBackup
from backup_agent.domain.event import BackupEvent, Ending, EventError, EventType, InstanceEvent
from backup_agent.domain.instance_command import INSTANCE_COMMANDS, DeleteUser, InstanceCommandType
from backup_agent.domain.state import Phase, State
from backup_agent.errors import RejectedError
from backup_agent.inbox.wire import parse_command
from backup_agent.report.wire import (
    answer_routing_key,
    encode,
    encode_answer,
    encode_heartbeat,
    heartbeat_routing_key,
    routing_key,
)

ID = "61f12fef-edb1-4561-8122-e7c00ef26a82"
PARENT = "a9832168-7541-4536-b8d9-a8a9b79cf1b4"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
TIME = "2026-11-25T15:00:02.250Z"
EXPIRES = datetime(2026, 11, 25, 16, tzinfo=UTC)


def test_the_agent_reads_what_it_is_asked_to_create() -> None:
    encoded = commands.create_backup(
        backup_id=ID,
        name="Grüße",
        description=None,
        instance_id=INSTANCE,
        account_id="1234",
        parent_id=PARENT,
        expires=EXPIRES,
    )
    received = parse_command(encoded.body)
    assert received.expires == EXPIRES
    assert received.command == CreateBackup(
        backup=BackupRequest(id=ID, name="Grüße", instance_id=INSTANCE, account_id="1234", parent_id=PARENT)
    )


def test_the_agent_reads_what_it_is_asked_to_do_with_its_instance() -> None:
    data = {"name": "clerk", "host": "10.0.0.%"}
    encoded = commands.operate(
        InstanceCommandType.DELETE_USER, data, instance_id=INSTANCE, account_id="1234", expires=EXPIRES
    )
    assert encoded.type == "instance.delete_user"
    received = parse_command(encoded.body)
    assert received.command == DeleteUser(instance_id=INSTANCE, account_id="1234", name="clerk", host="10.0.0.%")
    assert (received.request, received.expires) == (encoded.id, EXPIRES)
    assert max(map(len, INSTANCE_COMMANDS)) <= 32, "as the catalogue's columns have room for"


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        (EventType.INSTANCE_DONE, Ending.DONE),
        (EventType.INSTANCE_FAILED, Ending.FAILED),
        (EventType.INSTANCE_REJECTED, Ending.REJECTED),
    ],
)
def test_the_control_plane_reads_what_the_agent_answers(kind: EventType, ending: Ending) -> None:
    told = InstanceEvent(
        type=kind,
        request_id=ID,
        command="instance.list_users",
        instance_id=INSTANCE,
        account_id="1234",
        status=ending,
        received=TIME,
        time=TIME,
        result={"users": []},
        error=EventError(code="instance_busy", message="file \udcff\0", hint="Ask again.", status=422),
        backup_id=PARENT,
    )
    heard = parse_event(encode_answer(told), answer_routing_key(told)).data
    assert isinstance(heard, AnswerTold)
    assert (heard.request_id, heard.command, heard.instance_id) == (ID, "instance.list_users", INSTANCE)
    assert (heard.status, heard.result, heard.backup_id) == (ending.value, {"users": []}, PARENT)
    assert heard.finished == datetime(2026, 11, 25, 15, 0, 2, 250_000, tzinfo=UTC)
    assert heard.error is not None
    assert (heard.error.code, heard.error.message, heard.error.status) == ("instance_busy", "file ?", 422)
    with pytest.raises(RejectedError):
        parse_event(encode_answer(told), f"{PARENT}.{kind.value}")


def event(kind: EventType, status: State, **fields: Any) -> BackupEvent:
    request = BackupRequest(id=ID, name="snapshot", instance_id=INSTANCE, account_id="1234", parent_id=PARENT)
    shown = resource.of_request(request, status, created="2026-11-25T15:00:00", updated="2026-11-25T15:00:02")
    return BackupEvent(
        type=kind, backup_id=ID, instance_id=INSTANCE, sequence=4, status=status, time=TIME, backup=shown, **fields
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (EventType.ACCEPTED, State.NEW),
        (EventType.STARTED, State.BUILDING),
        (EventType.PROGRESS, State.BUILDING),
        (EventType.WARNING, State.BUILDING),
        (EventType.COMPLETED, State.COMPLETED),
        (EventType.FAILED, State.FAILED),
        (EventType.REJECTED, State.FAILED),
    ],
)
def test_the_control_plane_reads_what_the_agent_tells_of_a_backup(kind: EventType, status: State) -> None:
    error = EventError(code="engine_failed", message="file \udcff\0", hint="Read its log.", status=422)
    told = event(kind, status, phase=Phase.COPYING, bytes_read=52, bytes_expected=100, error=error)
    heard = parse_event(encode(told), routing_key(told))
    assert isinstance(heard.data, BackupTold)
    assert (heard.type, heard.time) == (kind.value, datetime(2026, 11, 25, 15, 0, 2, 250_000, tzinfo=UTC))
    data = heard.data
    assert (data.id, data.instance_id, data.parent_id, data.status) == (ID, INSTANCE, PARENT, status)
    assert (data.sequence, data.created) == (4, datetime(2026, 11, 25, 15, tzinfo=UTC))
    assert data.error is not None
    assert (data.error.code, data.error.message, data.error.status) == ("engine_failed", "file ?", 422)


def test_the_control_plane_reads_heartbeats() -> None:
    body = encode_heartbeat(
        INSTANCE, agent_version="0.1.0", time=TIME, server_version="10.11.6-MariaDB", server_running=False, job=ID
    )
    heard = parse_event(body, heartbeat_routing_key(INSTANCE))
    assert heard.data == AgentTold(
        instance_id=INSTANCE, agent_version="0.1.0", server_version="10.11.6-MariaDB", server_running=False, job=ID
    )


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "2.0"},
        {"dataschema": "urn:backup-agent:event:v2"},
        {"type": "backup.stolen"},
        {"time": "yesterday"},
        {"time": 5},
        {"data": []},
        {"data": {"id": "../../etc"}},
        {"data": {"sequence": 0}},
        {"data": {"sequence": "4"}},
        {"data": {"percent": 101}},
        {"data": {"size": float("nan")}},
        {"data": {"status": "GONE"}},
        {"data": {"name": "a\0b"}},
        {"data": {"name": "\ud800"}},
        {"data": {"instance_id": PARENT}},
    ],
)
def test_what_no_agent_tells_is_refused(change: dict[str, Any]) -> None:
    told = event(EventType.PROGRESS, State.BUILDING)
    document = json.loads(encode(told))
    for key, value in change.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    with pytest.raises(RejectedError):
        parse_event(json.dumps(document).encode(), routing_key(told))


@pytest.mark.parametrize("body", [b"", b"\xff", b"null", b"[" * 100_000, b"{}" + b" " * (1 << 20)])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(RejectedError):
        parse_event(body, f"{INSTANCE}.backup.progress")

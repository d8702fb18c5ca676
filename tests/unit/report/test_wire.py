"""What an event looks like to those who are told."""

from __future__ import annotations

import json
from typing import Any

from backup_agent.domain.event import BackupEvent, EventError, EventType
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import Phase, State
from backup_agent.report import wire

BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
RESOURCE = {"id": BACKUP, "name": "Täglich", "status": "BUILDING", "error": None, "progress": 0}


def event(kind: EventType, status: State, **fields: Any) -> BackupEvent:
    return BackupEvent(
        type=kind,
        backup_id=BACKUP,
        instance_id=INSTANCE,
        sequence=7,
        status=status,
        time="2026-11-25T15:00:00.000Z",
        **{"backup": RESOURCE, **fields},
    )


def test_an_event_is_a_cloudevent_about_its_backup() -> None:
    document = json.loads(wire.encode(event(EventType.STARTED, State.BUILDING)))

    data = document.pop("data")
    assert document == {
        "specversion": "1.0",
        "id": f"{BACKUP}/7",
        "source": f"urn:backup-agent:instance:{INSTANCE}",
        "type": "backup.started",
        "subject": BACKUP,
        "time": "2026-11-25T15:00:00.000Z",
        "dataschema": "urn:backup-agent:event:v1",
        "datacontenttype": "application/json",
    }
    assert data["name"] == "Täglich"


def test_its_data_is_the_backup_and_what_is_new() -> None:
    told = event(
        EventType.PROGRESS,
        State.BUILDING,
        phase=Phase.COPYING,
        bytes_read=500,
        bytes_stored=100,
        bytes_expected=1000,
        eta_seconds=12,
    )

    assert json.loads(wire.encode(told))["data"] == {
        **RESOURCE,
        "sequence": 7,
        "phase": "copying",
        "bytes_read": 500,
        "bytes_stored": 100,
        "percent": 50,
        "eta_seconds": 12,
        "lock": None,
        "error": None,
        "notice": None,
        "verification": None,
    }


def test_a_failure_says_why_and_what_to_do() -> None:
    error = EventError(code="store_full", message="the store is full", hint="make room")

    data = json.loads(wire.encode(event(EventType.FAILED, State.FAILED, error=error)))["data"]

    assert data["error"] == {"code": "store_full", "message": "the store is full", "hint": "make room", "status": None}


def test_a_completed_backup_tells_its_locks() -> None:
    lock = LockWindow(innodb_ms=30, nontransactional_ms=100, stages_ms={"FLUSH": 70, "BLOCK_COMMIT": 30})

    data = json.loads(wire.encode(event(EventType.COMPLETED, State.COMPLETED, lock=lock)))["data"]

    assert (data["percent"], data["lock"]) == (100, lock.model_dump())


def test_what_is_no_unicode_does_not_keep_an_event_from_being_told() -> None:
    told = event(EventType.WARNING, State.BUILDING, backup={"name": "broken \udcff"}, notice="a notice")

    assert json.loads(wire.encode(told).decode("utf-8"))["data"]["notice"] == "a notice"


def test_the_routing_key_begins_with_the_instance() -> None:
    assert wire.routing_key(event(EventType.COMPLETED, State.COMPLETED)) == f"{INSTANCE}.backup.completed"
    assert wire.heartbeat_routing_key(INSTANCE) == f"{INSTANCE}.agent.heartbeat"


def test_a_heartbeat_tells_what_the_agent_is_and_does() -> None:
    document = json.loads(
        wire.encode_heartbeat(
            INSTANCE,
            agent_version="1.2.3",
            time="2026-11-25T15:00:30.000Z",
            server_version="10.11.14-MariaDB",
            server_running=True,
            job=BACKUP,
            free_spool_bytes=1 << 30,
        )
    )

    assert (document["type"], document["subject"], document["time"]) == (
        "agent.heartbeat",
        INSTANCE,
        "2026-11-25T15:00:30.000Z",
    )
    assert document["data"] == {
        "instance_id": INSTANCE,
        "agent_version": "1.2.3",
        "engine_version": None,
        "server_version": "10.11.14-MariaDB",
        "server_running": True,
        "job": BACKUP,
        "free_spool_bytes": 1 << 30,
    }

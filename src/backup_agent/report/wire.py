"""How events travel: JSON CloudEvents 1.0 in structured mode, as docs/messages.md shows them."""

from __future__ import annotations

import json
from typing import Any

from backup_agent.domain.event import BackupEvent, EventType, InstanceEvent

SCHEMA = "urn:backup-agent:event:v1"
CONTENT_TYPE = "application/cloudevents+json"
_OWN_FIELDS = {
    "sequence",
    "phase",
    "bytes_read",
    "bytes_stored",
    "eta_seconds",
    "lock",
    "error",
    "notice",
    "verification",
}


def routing_key(event: BackupEvent) -> str:
    """`<instance id>.<type>`, such as `44b277eb-....backup.completed`."""
    return f"{event.instance_id}.{event.type.value}"


def encode(event: BackupEvent) -> bytes:
    """`data` is the backup resource as it is now, and what is new. The id stays the same when it is told again."""
    fields = event.model_dump(mode="json", include=_OWN_FIELDS)
    return _envelope(
        event.instance_id,
        event.type,
        event_id=f"{event.backup_id}/{event.sequence}",
        subject=event.backup_id,
        time=event.time,
        data={**event.backup, **fields, "percent": event.percent},
    )


def answer_routing_key(event: InstanceEvent) -> str:
    return f"{event.instance_id}.{event.type.value}"


def encode_answer(event: InstanceEvent) -> bytes:
    """`subject` is the id of the command's message."""
    return _envelope(
        event.instance_id,
        event.type,
        event_id=f"{event.request_id}/answer",
        subject=event.request_id,
        time=event.time,
        data=event.model_dump(mode="json", exclude={"type", "time"}) | {"finished": event.time},
    )


def heartbeat_routing_key(instance_id: str) -> str:
    return f"{instance_id}.{EventType.HEARTBEAT.value}"


def encode_heartbeat(
    instance_id: str,
    *,
    agent_version: str,
    time: str,
    engine_version: str | None = None,
    server_version: str | None = None,
    server_running: bool | None = None,
    job: str | None = None,
    free_spool_bytes: int | None = None,
) -> bytes:
    """The agent is there. `time` as events have it, from before the server was looked at; `job` is the running backup's
    id. None: not known, or none.
    """
    return _envelope(
        instance_id,
        EventType.HEARTBEAT,
        event_id=f"heartbeat/{time}",
        subject=instance_id,
        time=time,
        data={
            "instance_id": instance_id,
            "agent_version": agent_version,
            "engine_version": engine_version,
            "server_version": server_version,
            "server_running": server_running,
            "job": job,
            "free_spool_bytes": free_spool_bytes,
        },
    )


def _envelope(
    instance_id: str, kind: EventType, *, event_id: str, subject: str, time: str, data: dict[str, Any]
) -> bytes:
    document = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"urn:backup-agent:instance:{instance_id}",
        "type": kind.value,
        "subject": subject,
        "time": time,
        "dataschema": SCHEMA,
        "datacontenttype": "application/json",
        "data": data,
    }
    # What is no Unicode (a file's name in an error) becomes a JSON escape: an event is never lost for it.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")

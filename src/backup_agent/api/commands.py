"""The commands that agents are sent: JSON CloudEvents 1.0, as docs/messages.md shows them. Written for `inbox.wire`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backup_agent.domain.instance_command import InstanceCommandType

SCHEMA = "urn:backup-agent:command:v1"
SOURCE = "urn:backup-agent:api"
CREATE = "backup.create"
DELETE = "backup.delete"


@dataclass(frozen=True, slots=True)
class Encoded:
    id: str
    type: str
    body: bytes


def create_backup(
    *,
    backup_id: str,
    name: str,
    description: str | None,
    instance_id: str,
    account_id: str,
    parent_id: str | None,
    expires: datetime,
) -> Encoded:
    """After `expires` the agent rejects it."""
    backup = {
        "id": backup_id,
        "name": name,
        "description": description,
        "instance_id": instance_id,
        "account_id": account_id,
        "parent_id": parent_id,
    }
    given = {key: value for key, value in backup.items() if value is not None}
    return _encode(CREATE, {"backup": given}, expires=expires.isoformat(timespec="seconds"))


def delete_backup(backup_id: str, account_id: str) -> Encoded:
    return _encode(DELETE, {"backup_id": backup_id, "account_id": account_id})


def operate(
    kind: InstanceCommandType, data: Mapping[str, Any], *, instance_id: str, account_id: str, expires: datetime
) -> Encoded:
    """An operation on an instance. Its answer names the message's id.

    `data` must hold no password. What the agent has not begun by `expires`, it rejects.
    """
    whole = {"instance_id": instance_id, "account_id": account_id, **data}
    return _encode(kind, whole, expires=expires.isoformat(timespec="seconds"))


def _encode(kind: str, data: dict[str, Any], **attributes: str) -> Encoded:
    message_id = str(uuid.uuid4())
    document = {
        "specversion": "1.0",
        "id": message_id,
        "source": SOURCE,
        "type": kind,
        "dataschema": SCHEMA,
        "datacontenttype": "application/json",
        **attributes,
        "data": data,
    }
    return Encoded(message_id, kind, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

"""What an event said, from its bytes: for those who look at what was told last. Only for events of this program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backup_agent.domain.event import EventError


@dataclass(frozen=True, slots=True)
class Told:
    """The part of an event that is shown or measured. None: the event does not say."""

    percent: int
    bytes_read: int
    bytes_stored: int
    created: datetime | None
    """When the backup began."""
    updated: datetime | None
    """When it came to its state."""
    innodb_lock_ms: int | None
    nontransactional_lock_ms: int | None
    error: EventError | None
    id: str | None
    name: str | None
    checksum: str | None
    location: str | None
    """The URL of the manifest."""


def told(body: bytes) -> Told:
    """Raises ValueError when `body` is no event of a backup."""
    try:
        data: dict[str, Any] = json.loads(body)["data"]
        lock, error = data.get("lock"), data.get("error")
        return Told(
            percent=data["percent"],
            bytes_read=data["bytes_read"],
            bytes_stored=data["bytes_stored"],
            created=_moment(data.get("created")),
            updated=_moment(data.get("updated")),
            innodb_lock_ms=lock["innodb_ms"] if lock else None,
            nontransactional_lock_ms=lock["nontransactional_ms"] if lock else None,
            error=EventError.model_validate(error) if error else None,
            id=data.get("id"),
            name=data.get("name"),
            checksum=data.get("checksum"),
            location=data.get("locationRef"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"not an event of a backup: {type(error).__name__} {error}"
        raise ValueError(msg) from error


def _moment(text: str | None) -> datetime | None:
    """The resource has its times in UTC, and does not say so."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)

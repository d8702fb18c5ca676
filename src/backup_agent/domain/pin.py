"""The pin of a backup: an object beside it which says that it is to stay."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints, ValidationError

from backup_agent.domain.command import printable
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.manifest import Timestamp

PIN = "pin"
"""Its name, below the backup's prefix."""
PIN_LIMIT = 1 << 14
"""Bytes at most."""

Note = Annotated[str, StringConstraints(max_length=512), AfterValidator(printable)]


class Pin(Frozen):
    since: Timestamp | None = None
    note: Note | None = None


def encode(pin: Pin) -> bytes:
    return pin.model_dump_json().encode()


def decode(body: bytes) -> Pin:
    """Whatever it holds, it is there, and so the backup is pinned."""
    try:
        return Pin.model_validate_json(body)
    except ValidationError:
        return Pin()

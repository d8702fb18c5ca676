"""A message that nobody could understand, as it goes to the dead letters: with its body, and the reason in headers."""

from __future__ import annotations

import uuid
from datetime import datetime

from pika.spec import BasicProperties

from backup_agent.broker.confirms import Message
from backup_agent.broker.topology import DEAD_LETTER
from backup_agent.errors import ErrorCode

KEPT_BYTES = 1 << 20
"""Of its body; the rest is cut off."""
REASON_LIMIT = 2000


def dead_letter(
    queue: str,
    code: ErrorCode,
    reason: str,
    properties: BasicProperties,
    body: bytes,
    *,
    now: datetime,
    withheld: bool = False,
) -> Message:
    """`queue` is the one it came from. `withheld`: nobody is to see its body."""
    size = len(body)
    return Message(
        exchange=DEAD_LETTER,
        routing_key=queue,
        id=str(uuid.uuid4()),
        body=b"" if withheld else body[:KEPT_BYTES],
        content_type=_text(properties.content_type),
        headers={
            "x-code": code.value,
            "x-reason": reason[:REASON_LIMIT],
            "x-queue": queue,
            "x-time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "x-size": size,
            "x-truncated": withheld or size > KEPT_BYTES,
            "x-message-id": _text(properties.message_id) or "",
        },
    )


def _text(value: object) -> str | None:
    """What a sender wrote into a property; pika hands over bytes where that is not UTF-8."""
    return value if isinstance(value, str) else None

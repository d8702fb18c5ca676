"""Messages published with confirms: what the broker said of each, told to whoever published it.

For the thread of the connection alone, and one channel. When the channel goes, what was not answered yet never is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

_PERSISTENT = 2


class Answer(Enum):
    CONFIRMED = auto()
    REFUSED = auto()
    """The broker could not store it."""
    UNROUTABLE = auto()
    """No queue is bound for it; only told of `mandatory` messages."""


@dataclass(frozen=True, slots=True)
class Message:
    """Ids are unique among those not answered yet."""

    exchange: str
    routing_key: str
    id: str
    body: bytes
    content_type: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    persistent: bool = True
    mandatory: bool = True


class Confirms:
    """Turns confirms on; no other may publish on the channel."""

    def __init__(self, channel: Channel, ready: Callable[[object], None]) -> None:
        self._channel = channel
        self._published = 0
        self._waiting: dict[int, tuple[str, Callable[[Answer], None], float]] = {}
        self._returned: set[str] = set()
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_answer, ready)

    def publish(self, message: Message, answered: Callable[[Answer], None]) -> None:
        self._published += 1  # the broker counts the same way
        self._waiting[self._published] = (message.id, answered, time.monotonic())
        properties = BasicProperties(  # type: ignore[no-untyped-call]
            content_type=message.content_type,
            headers=dict(message.headers) or None,
            delivery_mode=_PERSISTENT if message.persistent else None,
            message_id=message.id,
        )
        self._channel.basic_publish(
            message.exchange, message.routing_key, message.body, properties, mandatory=message.mandatory
        )

    def waits(self) -> float:
        """For how many seconds the oldest message has been without an answer."""
        return next((time.monotonic() - published for _, _, published in self._waiting.values()), 0.0)

    def _on_return(self, _channel: Channel, _method: object, properties: BasicProperties, _body: bytes) -> None:
        self._returned.add(str(properties.message_id))  # its answer follows

    def _on_answer(self, frame: Method[Any]) -> None:
        method = frame.method
        last = method.delivery_tag
        # Tag 0 with `multiple` means all so far.
        tags = [tag for tag in self._waiting if not last or tag <= last] if method.multiple else [last]
        for tag in tags:
            message_id, answered, _ = self._waiting.pop(tag)
            unroutable = message_id in self._returned
            self._returned.discard(message_id)
            if isinstance(method, Basic.Nack):
                answered(Answer.REFUSED)
            else:
                answered(Answer.UNROUTABLE if unroutable else Answer.CONFIRMED)

"""The exchanges and queues that commands and events go through, and how they are declared.

The same on every agent and in the control plane: whoever comes first makes them. All are durable, the queues are quorum
queues. Bindings can only be made, not looked at: with `passive` they are taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pika.channel import Channel

COMMANDS = "backup.commands"
EVENTS = "backup.events"
DEAD_LETTER = "backup.dead-letter"
EVENTS_QUEUE = "backup.events.api"
DELIVERY_LIMIT = 20
"""How often a command is delivered again before the broker itself puts it with the dead letters: one that kills the
agent, by its size say, must not do so for ever."""
DEAD_LETTER_BYTES = 256 << 20
"""Bytes the dead-letter queue holds at most."""


def command_queue(instance_id: str) -> str:
    return f"{COMMANDS}.{instance_id}"


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    kind: str

    def declare(self, channel: Channel, done: Callable[[object], None], *, passive: bool) -> None:
        channel.exchange_declare(self.name, self.kind, passive=passive, durable=True, callback=done)

    def __str__(self) -> str:
        return f"the exchange {self.name}"


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def declare(self, channel: Channel, done: Callable[[object], None], *, passive: bool) -> None:
        arguments = {"x-queue-type": "quorum", **self.arguments}
        channel.queue_declare(self.name, passive=passive, durable=True, arguments=arguments, callback=done)

    def __str__(self) -> str:
        return f"the queue {self.name}"


@dataclass(frozen=True, slots=True)
class Binding:
    exchange: str
    queue: str
    key: str

    def declare(self, channel: Channel, done: Callable[[object], None], *, passive: bool) -> None:
        if passive:
            done(None)
        else:
            channel.queue_bind(self.queue, self.exchange, self.key, callback=done)

    def __str__(self) -> str:
        return f"the binding of the queue {self.queue} to the exchange {self.exchange}"


Part = Exchange | Queue | Binding
Topology = tuple[Part, ...]


def for_commands(instance_id: str, dead_letter_limit: int) -> Topology:
    """What one instance's inbox needs. `dead_letter_limit` is in messages."""
    queue = command_queue(instance_id)
    limits = {
        "x-max-length": dead_letter_limit,
        "x-max-length-bytes": DEAD_LETTER_BYTES,
        "x-overflow": "drop-head",
    }
    return (
        Exchange(DEAD_LETTER, "fanout"),
        Queue(DEAD_LETTER, limits),
        Binding(DEAD_LETTER, DEAD_LETTER, ""),
        Exchange(COMMANDS, "direct"),
        Queue(queue, {"x-dead-letter-exchange": DEAD_LETTER, "x-delivery-limit": DELIVERY_LIMIT}),
        Binding(COMMANDS, queue, instance_id),
    )


def for_events() -> Topology:
    """What a publisher of events needs; also the control plane's queue, so that events wait for its first start."""
    return (Exchange(EVENTS, "topic"), Queue(EVENTS_QUEUE), Binding(EVENTS, EVENTS_QUEUE, "#"))

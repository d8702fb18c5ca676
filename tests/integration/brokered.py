"""Inboxes and publishers at work in threads of their own, and what their tests look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from backup_agent.broker.topology import COMMANDS, DEAD_LETTER
from backup_agent.inbox.interface import Accept, Refused
from backup_agent.inbox.rabbitmq import RabbitInbox
from tests.faults.waiting import until

Line = MutableMapping[str, Any]


class Commands:
    """An `accept` that remembers what it took over. `answer` decides; by default everything is taken."""

    def __init__(self, answer: Accept = lambda _: None) -> None:
        self.answer = answer
        self.taken: list[bytes] = []

    def __call__(self, body: bytes) -> Refused | None:
        refused = self.answer(body)
        if refused is None:
            self.taken.append(body)
        return refused


@contextmanager
def in_thread(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[threading.Thread]:
    """`run` must end soon after `stop`."""
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        stop()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def at_work(inbox: RabbitInbox) -> Iterator[threading.Thread]:
    """Connected when the context opens."""
    with in_thread(inbox.run, inbox.stop) as thread:
        until(lambda: inbox.connected, "the inbox is connected")
        yield thread


def send(channel: BlockingChannel, instance_id: str, body: bytes, **properties: Any) -> None:
    channel.basic_publish(COMMANDS, instance_id, body, BasicProperties(delivery_mode=2, **properties))  # type: ignore[no-untyped-call]


def next_message(channel: BlockingChannel, queue: str) -> tuple[BasicProperties, bytes]:
    """Waits for it and takes it."""
    got: list[tuple[BasicProperties, bytes]] = []

    def look() -> bool:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None and properties is not None and body is not None:
            got.append((properties, body))
        return bool(got)

    until(look, f"a message in {queue}")
    return got[0]


def rest(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Takes what is in it. The last command that was taken over may be there again: a broker that is slow to say
    goodbye is left without it, and perhaps before it has read the acknowledgement.
    """
    bodies: list[bytes] = []
    while (body := channel.basic_get(queue, auto_ack=True)[2]) is not None:
        bodies.append(body)
    return bodies


def dead_letter(channel: BlockingChannel) -> tuple[dict[str, Any], bytes]:
    """Headers, without the broker's own counter, and body of the oldest."""
    properties, body = next_message(channel, DEAD_LETTER)
    return {key: value for key, value in (properties.headers or {}).items() if key != "x-delivery-count"}, body


def words(lines: Sequence[Line], level: str) -> list[str]:
    """What was logged at this level."""
    return [line["event"] for line in lines if line["log_level"] == level]

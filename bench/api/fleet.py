"""A simulated fleet, all in one process: each agent consumes from its own queue, tells of its backups, and gives a
heartbeat.

Most take a backup that nobody asked for, at different points of it; the others wait for commands, and carry them out
within some seconds. The broker's confirms are not waited for.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Self

from pika.adapters.blocking_connection import BlockingChannel

from backup_agent.broker.topology import COMMANDS, DEAD_LETTER, DELIVERY_LIMIT, EVENTS, command_queue
from bench.api.agents import EVENTS_OF_A_BACKUP, Busy, Obedient, beat
from bench.api.publishing import Publisher
from tests.api.fleet import Agent
from tests.servers.rabbitmq import PrivateRabbitMQ

_FORK = multiprocessing.get_context("fork")
HEARTBEAT_EVERY_S = 30.0
_TICK_S = 0.02
_AT_ONCE = 200
"""Events between two looks at commands."""
_START_S = 240.0


class Fleet:
    """Its process lives while the context is open; it tells nothing until `rate` is set."""

    def __init__(self, broker: PrivateRabbitMQ, instance_ids: Sequence[str], waiting: Sequence[str]) -> None:
        """`waiting` are those of them that carry out commands."""
        self._rate = _FORK.Value("d", 0.0)
        self._told = _FORK.Value("q", 0)
        self._beats = _FORK.Value("b", 0)
        self._ready, self._ended = _FORK.Event(), _FORK.Event()
        busy = sorted(set(instance_ids) - set(waiting))
        self._process = _FORK.Process(
            target=_live,
            args=(broker, busy, list(waiting), os.getpid(), self),
            name="fleet",
            daemon=True,
        )

    @property
    def told(self) -> int:
        """Events published so far."""
        return int(self._told.value)

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def tell(self, rate: float) -> None:
        """From now on that many events a second, those of commands and heartbeats among them."""
        self._rate.value = rate
        self._beats.value = 1

    def rest(self) -> None:
        """Only what commands ask for."""
        self._rate.value = 0.0
        self._beats.value = 0

    def __enter__(self) -> Self:
        self._process.start()
        if not self._ready.wait(_START_S):
            raise TimeoutError("the fleet did not come to its queues")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _live(broker: PrivateRabbitMQ, busy: Sequence[str], waiting: Sequence[str], parent: int, fleet: Fleet) -> None:
    connection = broker.connect()
    channel = connection.channel()
    for exchange, kind in ((DEAD_LETTER, "fanout"), (COMMANDS, "direct"), (EVENTS, "topic")):
        channel.exchange_declare(exchange, kind, durable=True)
    publisher = Publisher(broker)
    obedient = Obedient({one: Agent(broker, one) for one in waiting}, publisher)
    for instance_id in (*busy, *waiting):
        _take_queue(channel, instance_id, obedient)
    chance = random.Random(1)
    at_work = {one: Busy(Agent(broker, one), publisher, chance.randrange(1, EVENTS_OF_A_BACKUP)) for one in busy}
    turns = cycle(at_work.values())
    beats = cycle((*busy, *waiting))
    fleet._ready.set()  # noqa: SLF001 - the other half of it, on this side of the fork
    pace, paced, beaten, since = (0.0, 0), 0, 0, time.monotonic()
    while not fleet._ended.is_set() and os.getppid() == parent:  # noqa: SLF001 - as above
        connection.process_data_events(_TICK_S)
        obedient.go_on()
        wanted = (fleet._rate.value, fleet._beats.value)  # noqa: SLF001 - as above
        if wanted != pace:
            pace, paced, beaten, since = wanted, publisher.count, 0, time.monotonic()
        passed = time.monotonic() - since
        if pace[1]:
            while beaten < passed * (len(busy) + len(waiting)) / HEARTBEAT_EVERY_S:
                instance_id = next(beats)
                beat(publisher, instance_id, at_work[instance_id].backup["id"] if instance_id in at_work else None)
                beaten += 1
        for _ in range(min(_AT_ONCE, int(passed * pace[0]) - (publisher.count - paced)) if at_work else 0):
            next(turns).go_on()
        publisher.flush()
        fleet._told.value = publisher.count  # noqa: SLF001 - as above
    publisher.close()
    connection.close()


def _take_queue(channel: BlockingChannel, instance_id: str, obedient: Obedient) -> None:
    queue = command_queue(instance_id)
    arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": DEAD_LETTER,
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_bind(queue, COMMANDS, instance_id)
    channel.basic_consume(queue, lambda *given: obedient.on_message(instance_id, given[3]), auto_ack=True)

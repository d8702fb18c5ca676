"""Simulated agents, all in one process: each consumes from its own queue, tells of its backups, and gives a heartbeat.

Most take a backup that nobody asked for, at different points of it; the others wait for commands, and carry them out
within some seconds. What they tell has the shape and the way of what real agents tell; only that the broker's confirms
are not waited for.
"""

from __future__ import annotations

import heapq
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from backup_agent.broker.topology import COMMANDS, DEAD_LETTER, DELIVERY_LIMIT, EVENTS, command_queue
from backup_agent.report.wire import CONTENT_TYPE, encode_heartbeat, heartbeat_routing_key
from tests.api.fleet import Agent, new_id
from tests.servers.rabbitmq import PrivateRabbitMQ

_FORK = multiprocessing.get_context("fork")
HEARTBEAT_EVERY_S = 30.0
EVENTS_OF_A_BACKUP = 200
"""Most of them progress; so that backups end all the time, but not more often than hundreds of databases' do."""
_TICK_S = 0.02
_AT_ONCE = 200
"""Events between two looks at commands."""
_STEP_S = 1.0
_START_S = 240.0
_LASTING = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)  # type: ignore[no-untyped-call]
_PASSING = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=1)  # type: ignore[no-untyped-call]


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


class _Telling:
    """One channel, and how many events went through it."""

    def __init__(self, channel: BlockingChannel, fleet: Fleet) -> None:
        self._channel = channel
        self._fleet = fleet
        self.count = 0

    def event(self, agent: Agent, kind: str, backup: dict[str, Any], status: str, **data: object) -> None:
        body = agent.event(kind, backup, status, **data)
        self._publish(body, f"{agent.instance_id}.backup.{kind}", _LASTING)

    def heartbeat(self, instance_id: str, job: str | None) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        body = encode_heartbeat(
            instance_id,
            agent_version="0.1.0",
            engine_version="10.11.6",
            server_version="10.11.6-MariaDB-log",
            time=now,
            job=job,
            free_spool_bytes=1 << 34,
        )
        self._publish(body, heartbeat_routing_key(instance_id), _PASSING)

    def _publish(self, body: bytes, key: str, properties: pika.BasicProperties) -> None:
        self._channel.basic_publish(EVENTS, key, body, properties)
        self.count += 1
        self._fleet._told.value = self.count  # noqa: SLF001 - the other half of it, on this side of the fork


class _Busy:
    """One that takes backup after backup."""

    def __init__(self, agent: Agent, telling: _Telling, step: int) -> None:
        self._agent = agent
        self._telling = telling
        self._step = step
        self.backup = _new_backup()

    def go_on(self) -> None:
        agent, tell, step = self._agent, self._telling.event, self._step
        self._step += 1
        match step:
            case 0:
                tell(agent, "accepted", self.backup, "NEW")
            case 1:
                tell(agent, "started", self.backup, "BUILDING")
            case _ if step < EVENTS_OF_A_BACKUP:
                _progress(self._telling, agent, self.backup, 100 * step // EVENTS_OF_A_BACKUP)
            case _:
                _complete(self._telling, agent, self.backup)
                self._step, self.backup = 0, _new_backup()


@dataclass(order=True)
class _Due:
    at: float
    number: int
    do: Callable[[], None]


class _Obedient:
    """Those that wait for commands: a backup takes some seconds."""

    def __init__(self, agents: dict[str, Agent], telling: _Telling) -> None:
        self._agents = agents
        self._telling = telling
        self._due: list[_Due] = []
        self._number = 0

    def on_message(self, instance_id: str, body: bytes) -> None:
        command = json.loads(body)
        agent = self._agents.get(instance_id)
        if agent is None or command["type"] != "backup.create":
            return
        backup = command["data"]["backup"]
        tell = self._telling.event
        steps: list[Callable[[], None]] = [
            partial(tell, agent, "accepted", backup, "NEW"),
            partial(tell, agent, "started", backup, "BUILDING"),
            *(partial(_progress, self._telling, agent, backup, percent) for percent in (30, 70)),
            partial(_complete, self._telling, agent, backup),
        ]
        for number, step in enumerate(steps):
            self._number += 1
            heapq.heappush(self._due, _Due(time.monotonic() + max(0, number - 1) * _STEP_S, self._number, step))

    def go_on(self) -> None:
        while self._due and self._due[0].at <= time.monotonic():
            heapq.heappop(self._due).do()


def _live(broker: PrivateRabbitMQ, busy: Sequence[str], waiting: Sequence[str], parent: int, fleet: Fleet) -> None:
    connection = broker.connect()
    channel = connection.channel()
    telling = _Telling(channel, fleet)
    obedient = _Obedient({one: Agent(broker, one) for one in waiting}, telling)
    for exchange, kind in ((DEAD_LETTER, "fanout"), (COMMANDS, "direct"), (EVENTS, "topic")):
        channel.exchange_declare(exchange, kind, durable=True)
    for instance_id in (*busy, *waiting):
        _take_queue(channel, instance_id, obedient)
    chance = random.Random(1)
    at_work = {one: _Busy(Agent(broker, one), telling, chance.randrange(1, EVENTS_OF_A_BACKUP)) for one in busy}
    turns = cycle(at_work.values())
    beats = cycle((*busy, *waiting))
    fleet._ready.set()  # noqa: SLF001 - as above
    pace, paced, beaten, since = (0.0, 0), 0, 0, time.monotonic()
    while not fleet._ended.is_set() and os.getppid() == parent:  # noqa: SLF001 - as above
        connection.process_data_events(_TICK_S)
        obedient.go_on()
        wanted = (fleet._rate.value, fleet._beats.value)  # noqa: SLF001 - as above
        if wanted != pace:
            pace, paced, beaten, since = wanted, telling.count, 0, time.monotonic()
        passed = time.monotonic() - since
        if pace[1]:
            while beaten < passed * (len(busy) + len(waiting)) / HEARTBEAT_EVERY_S:
                instance_id = next(beats)
                telling.heartbeat(instance_id, at_work[instance_id].backup["id"] if instance_id in at_work else None)
                beaten += 1
        for _ in range(min(_AT_ONCE, int(passed * pace[0]) - (telling.count - paced)) if at_work else 0):
            next(turns).go_on()
    connection.close()


def _take_queue(channel: BlockingChannel, instance_id: str, obedient: _Obedient) -> None:
    queue = command_queue(instance_id)
    arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": DEAD_LETTER,
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_bind(queue, COMMANDS, instance_id)
    channel.basic_consume(queue, lambda *given: obedient.on_message(instance_id, given[3]), auto_ack=True)


def _progress(telling: _Telling, agent: Agent, backup: dict[str, Any], percent: int) -> None:
    read = percent << 27
    telling.event(
        agent,
        "progress",
        backup,
        "BUILDING",
        phase="copying",
        percent=percent,
        bytes_read=read,
        bytes_stored=read // 3,
        eta_seconds=400 - 4 * percent,
    )


def _complete(telling: _Telling, agent: Agent, backup: dict[str, Any]) -> None:
    telling.event(
        agent,
        "completed",
        backup,
        "COMPLETED",
        percent=100,
        progress=100,
        size=13.7,
        checksum="ab" * 32,
        locationRef=f"s3://backups/z_CLOUDDB_BACKUPS/{agent.instance_id}/{backup['id']}/manifest.json",
        datastore={"type": "mariadb", "version": "10.11.6", "version_id": "mariadb-10.11.6"},
    )


def _new_backup() -> dict[str, Any]:
    return {"id": new_id(), "name": "nightly", "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"}

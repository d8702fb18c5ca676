"""The daemon as a platform sees it: commands into its queue, events out of theirs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from backup_agent.broker.topology import command_queue
from tests.agent import ACCOUNT, SECONDS, Outcome
from tests.faults.agents import ConfinedAgent, Sections
from tests.faults.waiting import PATIENCE, until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ

EVENTS_QUEUE = "backup.events.api"
FAST = {"reconnect_max_s": 0.5, "heartbeat_s": 20, "connect_timeout_s": 20}
"""So that a broker that comes back is found soon, and one that is slow is not left."""


def daemon_agent(
    base: Path,
    server: PrivateMariaDB,
    broker_urls: Sequence[str],
    *,
    extra: Sections | None = None,
    store_url: str | None = None,
) -> ConfinedAgent:
    """An agent with a broker."""
    sections: dict[str, dict[str, object]] = {
        "broker": {"urls": list(broker_urls), "user": USER, "password": PASSWORD, **FAST},
        "stream": {"chunk_mib": 1, "memory_mib": 16},
    }
    for section, values in (extra or {}).items():
        sections.setdefault(section, {}).update(values)
    return ConfinedAgent(base, server, extra=sections, store_url=store_url)


def create(agent: ConfinedAgent, name: str = "by message", **changes: Any) -> dict[str, Any]:
    """A good backup.create; `changes` are made in its backup."""
    backup = {
        "id": str(uuid.uuid4()),
        "name": name,
        "instance_id": agent.instance_id,
        "account_id": ACCOUNT,
        **changes,
    }
    return command("backup.create", {"backup": backup})


def cancel(backup_id: str) -> dict[str, Any]:
    return command("backup.cancel", {"backup_id": backup_id})


def command(kind: str, data: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "urn:example:test",
        "type": kind,
        "dataschema": "urn:backup-agent:command:v1",
        "data": data,
        **attributes,
    }


logging.getLogger("pika").setLevel(logging.CRITICAL)  # it warns of each queue that is not there yet


class Platform:
    """Sends commands to one agent, and keeps every event that comes, in order. Survives a broker that goes away."""

    def __init__(self, broker: PrivateRabbitMQ, agent: ConfinedAgent) -> None:
        self._broker = broker
        self._agent = agent
        self._events: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="platform")

    def send(self, *commands: dict[str, Any] | bytes) -> None:
        """Persistent, confirmed, and to a queue that is there."""
        with self._channel() as channel:
            channel.confirm_delivery()
            for one in commands:
                body = one if isinstance(one, bytes) else json.dumps(one).encode()
                channel.basic_publish(
                    "backup.commands",
                    self._agent.instance_id,
                    body,
                    pika.BasicProperties(  # type: ignore[no-untyped-call]
                        content_type="application/cloudevents+json", delivery_mode=2
                    ),
                    mandatory=True,
                )

    def await_queue(self) -> None:
        """Returns when the agent has made its queue and consumes from it."""

        def consumed() -> bool:
            try:
                with self._channel() as channel:
                    found = channel.queue_declare(command_queue(self._agent.instance_id), passive=True)
            except pika.exceptions.AMQPError:
                return False
            return bool(found.method.consumer_count)

        until(consumed, "the agent at its queue")

    def events(self, backup_id: str, kind: str | None = None) -> list[dict[str, Any]]:
        """The events of a backup, progress left out unless it is asked for."""
        return [
            event
            for event in list(self._events)
            if event["subject"] == backup_id and (event["type"] == kind if kind else event["type"] != "backup.progress")
        ]

    def heartbeats(self) -> list[dict[str, Any]]:
        return [event for event in list(self._events) if event["type"] == "agent.heartbeat"]

    def await_event(self, backup_id: str, kind: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        until(lambda: self.events(backup_id, kind), f"{kind} of {backup_id}", seconds)
        return self.events(backup_id, kind)[0]

    def await_end(self, backup_id: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """The event that ends the backup, whichever it is."""
        ends = ("backup.completed", "backup.failed", "backup.rejected")

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events(backup_id) if event["type"] in ends]

        until(found, f"the end of {backup_id}", seconds)
        return found()[0]

    def dead_letters(self) -> list[tuple[dict[str, Any], bytes]]:
        """Takes what is in the dead-letter queue: headers and body of each."""
        letters: list[tuple[dict[str, Any], bytes]] = []
        with self._channel() as channel:
            while True:
                _, properties, body = channel.basic_get("backup.dead-letter", auto_ack=True)
                if properties is None or body is None:
                    return letters
                letters.append((dict(properties.headers or {}), body))

    def __enter__(self) -> Self:
        """Forgets the instance's commands: an earlier test's agent may have left its last one unacknowledged."""
        with self._channel() as channel:
            channel.queue_delete(command_queue(self._agent.instance_id))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = self._broker.connect()
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with self._channel() as channel:
                    for method, _, body in channel.consume(EVENTS_QUEUE, inactivity_timeout=0.05):
                        if method is not None and body is not None:
                            self._events.append(json.loads(body))
                            channel.basic_ack(method.delivery_tag)
                        if self._ended.is_set():
                            break
            except (pika.exceptions.AMQPError, OSError):
                self._ended.wait(0.05)  # the queue is not there yet, or the broker is away


class Daemon:
    """`backup-agent run` in a process of its own; killed when the context is left, if it still runs."""

    def __init__(self, agent: ConfinedAgent, *, prefix: Sequence[str] = ()) -> None:
        """`prefix` starts the agent another way: its arguments follow."""
        self.agent = agent
        argv = agent.argv("run")
        if prefix:
            argv = [sys.executable, *prefix, *argv[argv.index("backup_agent") + 1 :]]
        self._log = (agent.base / f"run-{uuid.uuid4()}.log").open("w+b")
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env={**os.environ, **agent.environment},
        )

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = Path(self._log.name).read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def said(self, event: str, **fields: object) -> bool:
        return any(
            line["event"] == event and all(line.get(name) == value for name, value in fields.items())
            for line in self.log
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def await_word(self, event: str, **fields: object) -> None:
        until(lambda: self.ended or self.said(event, **fields), f"{event} {fields}")
        if not self.said(event, **fields):
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.text}")

    def await_ready(self) -> Self:
        self.await_word("the agent is ready")
        return self

    @property
    def text(self) -> str:
        return Path(self._log.name).read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL, and waits."""
        self.process.kill()
        self.process.wait()

    def end(self) -> Outcome:
        """Waits for its end."""
        status = self.process.wait(SECONDS)
        return Outcome(status, "", self.text)

    def stop(self) -> Outcome:
        self.process.terminate()
        return self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()


@contextmanager
def at_work(agent: ConfinedAgent, platform: Platform) -> Iterator[Daemon]:
    """A daemon that is ready, and at its queue."""
    with Daemon(agent) as daemon:
        daemon.await_ready()
        platform.await_queue()
        yield daemon

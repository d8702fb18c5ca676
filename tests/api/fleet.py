"""Agents as the control plane sees them: what they tell, and what they are told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from backup_agent.broker.topology import EVENTS, EVENTS_QUEUE, command_queue
from backup_agent.report.wire import encode_heartbeat, heartbeat_routing_key
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ

MANIFEST = "file:///srv/backups/z_CLOUDDB_BACKUPS/{instance}/{backup}/manifest.json"


class Agent:
    """Of one instance; keeps the sequence number of each backup, as a real one does."""

    def __init__(self, broker: PrivateRabbitMQ, instance_id: str) -> None:
        self._broker = broker
        self.instance_id = instance_id
        self._sequences: dict[str, int] = {}
        self._started = datetime.now(UTC)

    def tell(self, kind: str, backup: dict[str, Any] | str, status: str, **data: Any) -> bytes:
        """Publishes the next event of a backup (as the API shows it, or an id); the message, to be sent again."""
        body = self.event(kind, backup, status, **data)
        self.send(body, kind)
        return body

    def event(self, kind: str, backup: dict[str, Any] | str, status: str, **data: Any) -> bytes:
        known = {"id": backup} if isinstance(backup, str) else backup
        backup_id = known["id"]
        sequence = data.pop("sequence", self._sequences.get(backup_id, 0) + 1)
        self._sequences[backup_id] = max(sequence, self._sequences.get(backup_id, 0))
        moment = data.pop("time", datetime.now(UTC))
        document = {
            "specversion": "1.0",
            "id": f"{backup_id}/{sequence}",
            "source": f"urn:backup-agent:instance:{self.instance_id}",
            "type": f"backup.{kind}",
            "subject": backup_id,
            "time": f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z",
            "dataschema": "urn:backup-agent:event:v1",
            "datacontenttype": "application/json",
            "data": {
                "id": backup_id,
                "name": known.get("name", "by timer"),
                "description": known.get("description"),
                "instance_id": self.instance_id,
                "parent_id": known.get("parent_id"),
                "status": status,
                "created": known.get("created", f"{self._started:%Y-%m-%dT%H:%M:%S}"),
                "updated": f"{moment:%Y-%m-%dT%H:%M:%S}",
                "size": None,
                "locationRef": None,
                "checksum": None,
                "datastore": None,
                "progress": 0,
                "error": None,
                "sequence": sequence,
                "phase": None,
                "bytes_read": 0,
                "bytes_stored": 0,
                "percent": 0,
                "eta_seconds": None,
                "lock": None,
                "notice": None,
                **data,
            },
        }
        return json.dumps(document).encode()

    def complete(self, backup: dict[str, Any] | str) -> None:
        """Everything that a real agent tells of a backup that goes well."""
        self.tell("accepted", backup, "NEW")
        self.tell("started", backup, "BUILDING")
        self.tell("progress", backup, "BUILDING", phase="copying", percent=52, bytes_read=1 << 20)
        self.completed(backup)

    def completed(self, backup: dict[str, Any] | str) -> bytes:
        backup_id = backup if isinstance(backup, str) else backup["id"]
        return self.tell(
            "completed",
            backup,
            "COMPLETED",
            percent=100,
            progress=100,
            size=0.014,
            raw_size=47_000_000,
            stored_size=14_000_000,
            type="full",
            checksum="ab" * 32,
            locationRef=MANIFEST.format(instance=self.instance_id, backup=backup_id),
            datastore={"type": "mariadb", "version": "10.11.6", "version_id": "mariadb-10.11.6"},
        )

    def fail(self, backup: dict[str, Any] | str, kind: str = "failed", code: str = "engine_failed") -> bytes:
        error = {"code": code, "message": "the engine ended with status 1", "hint": "Read its log.", "status": None}
        return self.tell(kind, backup, "FAILED", error=error)

    def heartbeat(self, job: str | None = None, *, server_running: bool | None = None) -> None:
        body = encode_heartbeat(
            self.instance_id,
            agent_version="0.1.0",
            server_version="10.11.6-MariaDB-log",
            server_running=server_running,
            time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            job=job,
        )
        self._publish(body, heartbeat_routing_key(self.instance_id))

    def answer(
        self, command: dict[str, Any], status: str = "DONE", *, result: Any = None, error: Any = None, **data: Any
    ) -> bytes:
        """Tells what became of an operation on the instance; the message, to be sent again. `data` wins."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        kind = f"instance.{status.lower()}"
        document = {
            "specversion": "1.0",
            "id": f"{command['id']}/answer",
            "source": f"urn:backup-agent:instance:{self.instance_id}",
            "type": kind,
            "subject": command["id"],
            "time": now,
            "dataschema": "urn:backup-agent:event:v1",
            "datacontenttype": "application/json",
            "data": {
                "request_id": command["id"],
                "command": command["type"],
                "instance_id": self.instance_id,
                "account_id": command["data"]["account_id"],
                "status": status,
                "received": now,
                "finished": now,
                "result": result,
                "error": error,
                "backup_id": None,
                **data,
            },
        }
        body = json.dumps(document).encode()
        self._publish(body, f"{self.instance_id}.{kind}")
        return body

    def send(self, body: bytes, kind: str) -> None:
        self._publish(body, f"{self.instance_id}.backup.{kind}")

    def commands(self) -> list[dict[str, Any]]:
        """Takes those that wait in its queue."""
        found: list[dict[str, Any]] = []
        try:
            with self._channel() as channel:
                while (body := channel.basic_get(command_queue(self.instance_id), auto_ack=True)[2]) is not None:
                    found.append(json.loads(body))
        except pika.exceptions.ConnectionClosedByBroker as error:
            if "noproc" not in error.reply_text:  # RabbitMQ 3.10: the queue has no leader yet
                raise
        return found

    def has_queue(self) -> bool:
        """The API makes it for the first command."""
        try:
            with self._channel() as channel:
                channel.queue_declare(command_queue(self.instance_id), passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def await_commands(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            if self.has_queue():
                found.extend(self.commands())
            return len(found) >= count

        until(enough, f"{count} commands to {self.instance_id}")
        return found

    def send_answer(self, body: bytes) -> None:
        """Again, or one of another agent's."""
        self._publish(body, f"{self.instance_id}.instance.done")

    def _publish(self, body: bytes, key: str) -> None:
        with self._channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish(EVENTS, key, body, pika.BasicProperties(delivery_mode=2))  # type: ignore[no-untyped-call]

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = self._broker.connect()
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()


def waiting_events(broker: PrivateRabbitMQ) -> int:
    """Events that the control plane has not acknowledged are not counted."""
    with broker.connect() as connection:
        return broker.depth(connection.channel(), EVENTS_QUEUE)


def an_hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def new_id() -> str:
    return str(uuid.uuid4())

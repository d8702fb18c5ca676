"""Simulated agents: those that take a backup that nobody asked for, and those that carry out commands.

What they tell has the shape and the way of what real agents tell.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from backup_agent.report.wire import encode_heartbeat, heartbeat_routing_key
from bench.api.publishing import Publisher
from tests.api.fleet import Agent, new_id

EVENTS_OF_A_BACKUP = 200
"""Most of them progress; so that backups end all the time, but not more often than hundreds of databases' do."""
_STEP_S = 1.0


class Busy:
    """One that takes backup after backup."""

    def __init__(self, agent: Agent, publisher: Publisher, step: int) -> None:
        self._agent = agent
        self._publisher = publisher
        self._step = step
        self.backup = _new_backup()

    def go_on(self) -> None:
        """Tells the next event."""
        agent, publisher, step = self._agent, self._publisher, self._step
        self._step += 1
        match step:
            case 0:
                _tell(publisher, agent, "accepted", self.backup, "NEW")
            case 1:
                _tell(publisher, agent, "started", self.backup, "BUILDING")
            case _ if step < EVENTS_OF_A_BACKUP:
                _progress(publisher, agent, self.backup, 100 * step // EVENTS_OF_A_BACKUP)
            case _:
                _complete(publisher, agent, self.backup)
                self._step, self.backup = 0, _new_backup()


@dataclass(order=True)
class _Due:
    at: float
    number: int
    do: Callable[[], None]


class Obedient:
    """Those that wait for commands: a backup takes some seconds."""

    def __init__(self, agents: dict[str, Agent], publisher: Publisher) -> None:
        self._agents = agents
        self._publisher = publisher
        self._due: list[_Due] = []
        self._number = 0

    def on_message(self, instance_id: str, body: bytes) -> None:
        command = json.loads(body)
        agent = self._agents.get(instance_id)
        if agent is None or command["type"] != "backup.create":
            return
        backup = command["data"]["backup"]
        publisher = self._publisher
        steps: list[Callable[[], None]] = [
            partial(_tell, publisher, agent, "accepted", backup, "NEW"),
            partial(_tell, publisher, agent, "started", backup, "BUILDING"),
            *(partial(_progress, publisher, agent, backup, percent) for percent in (30, 70)),
            partial(_complete, publisher, agent, backup),
        ]
        for number, step in enumerate(steps):
            self._number += 1
            heapq.heappush(self._due, _Due(time.monotonic() + max(0, number - 1) * _STEP_S, self._number, step))

    def go_on(self) -> None:
        while self._due and self._due[0].at <= time.monotonic():
            heapq.heappop(self._due).do()


def beat(publisher: Publisher, instance_id: str, job: str | None) -> None:
    """A heartbeat."""
    body = encode_heartbeat(
        instance_id,
        agent_version="0.1.0",
        engine_version="10.11.6",
        server_version="10.11.6-MariaDB-log",
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}",
        job=job,
        free_spool_bytes=1 << 34,
    )
    publisher.put(heartbeat_routing_key(instance_id), body, lasting=False)


def _tell(publisher: Publisher, agent: Agent, kind: str, backup: dict[str, Any], status: str, **data: object) -> None:
    publisher.put(f"{agent.instance_id}.backup.{kind}", agent.event(kind, backup, status, **data))


def _progress(publisher: Publisher, agent: Agent, backup: dict[str, Any], percent: int) -> None:
    read = percent << 27
    _tell(
        publisher,
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


def _complete(publisher: Publisher, agent: Agent, backup: dict[str, Any]) -> None:
    _tell(
        publisher,
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

"""An agent that carries out operations on an instance which is kept in memory, and answers as a real one does."""

from __future__ import annotations

import json
import threading
from typing import Any, Self

from backup_agent.broker.topology import Queue, command_queue, for_commands
from backup_agent.inbox.wire import parse_command
from tests.api.fleet import Agent
from tests.servers.rabbitmq import PrivateRabbitMQ


class Refusal(Exception):  # noqa: N818 - what an agent answers
    def __init__(self, status: str, code: str, http: int | None, *, backup_id: str | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.backup_id = backup_id
        self.error = {"code": code, "message": f"it is {code}", "hint": "None.", "status": http}


class OperatedAgent(Agent):
    """Takes commands from its queue until the context is left. What a real agent would not understand ends it."""

    def __init__(self, broker: PrivateRabbitMQ, instance_id: str) -> None:
        super().__init__(broker, instance_id)
        self.databases: dict[str, dict[str, Any]] = {}
        self.users: dict[tuple[str, str], list[str]] = {}
        self.heard: list[dict[str, Any]] = []
        """Commands, as they came."""
        self.refusing: Refusal | None = None
        """Of everything."""
        self.kept = False
        """Whether the instance may not be deleted."""
        self.fault: BaseException | None = None
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operated agent")

    def types(self) -> list[str]:
        return [command["type"] for command in self.heard]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        assert self.fault is None, self.fault

    def _run(self) -> None:
        try:
            self._listen()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.fault = error
        finally:
            self._ready.set()

    def _listen(self) -> None:
        name = command_queue(self.instance_id)
        (queue,) = (part for part in for_commands(self.instance_id, 1) if isinstance(part, Queue) and part.name == name)
        with self._channel() as channel:
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", **queue.arguments})
            self._ready.set()
            for method, _, body in channel.consume(name, inactivity_timeout=0.02):
                if self._ended.is_set():
                    return
                if method is not None and body is not None:
                    self._take(body)
                    channel.basic_ack(method.delivery_tag)

    def _take(self, body: bytes) -> None:
        parse_command(body)
        command = json.loads(body)
        self.heard.append(command)
        if not command["type"].startswith("instance."):
            return
        try:
            result = self._carry_out(command["type"], command["data"])
        except Refusal as refusal:
            self.answer(command, refusal.status, error=refusal.error, backup_id=refusal.backup_id)
        else:
            self.answer(command, result=result)

    def _carry_out(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        if self.refusing is not None:
            raise self.refusing
        do = getattr(self, f"_{kind.removeprefix('instance.')}", None)
        return {} if do is None else do(data) or {}

    def _delete(self, _: dict[str, Any]) -> None:
        if self.kept:
            raise Refusal("REJECTED", "instance_busy", 422)

    def _create_databases(self, data: dict[str, Any]) -> None:
        if any(one["name"] in self.databases for one in data["databases"]):
            raise Refusal("REJECTED", "database_exists", 400)
        for one in data["databases"]:
            self.databases[one["name"]] = {"character_set": "utf8mb4", "collate": "utf8mb4_bin", **one}

    def _list_databases(self, data: dict[str, Any]) -> dict[str, Any]:
        page, marker = _page(sorted(self.databases), data)
        return {"databases": [self.databases[name] for name in page], "next_marker": marker}

    def _delete_database(self, data: dict[str, Any]) -> None:
        if self.databases.pop(data["name"], None) is None:
            raise Refusal("REJECTED", "database_not_found", 404)

    def _create_users(self, data: dict[str, Any]) -> None:
        for one in data["users"]:
            self.users[one["name"], one["host"]] = [granted["name"] for granted in one["databases"]]

    def _list_users(self, data: dict[str, Any]) -> dict[str, Any]:
        page, marker = _page(sorted("@".join(key) for key in self.users), data)
        return {"users": [self._user(key) for key in page], "next_marker": marker}

    def _delete_user(self, data: dict[str, Any]) -> None:
        if self.users.pop((data["name"], data["host"]), None) is None:
            raise Refusal("REJECTED", "user_not_found", 404)

    def _user(self, key: str) -> dict[str, Any]:
        name, _, host = key.rpartition("@")
        return {"name": name, "host": host, "databases": [{"name": one} for one in self.users[name, host]]}


def _page(names: list[str], data: dict[str, Any]) -> tuple[list[str], str | None]:
    rest = [name for name in names if data.get("marker") is None or name > data["marker"]]
    page = rest[: data["limit"]]
    return page, page[-1] if len(rest) > len(page) else None

"""An instance whose databases, users and server a platform may operate on."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from backup_agent.instance.administration_grants import administrator_statements
from tests.agent import ACCOUNT
from tests.daemon import Platform, command, daemon_agent
from tests.faults.agents import ConfinedAgent, Sections
from tests.faults.waiting import PATIENCE, until
from tests.servers.mariadb import PrivateMariaDB

ADMINISTRATOR = "backup_administrator"
ADMINISTRATOR_PASSWORD = "throw-away administrator's \\ password"
ENDS = ("instance.done", "instance.failed", "instance.rejected")


def create_administrator(server: PrivateMariaDB) -> None:
    server.execute(*administrator_statements(ADMINISTRATOR, ADMINISTRATOR_PASSWORD))


def administered_agent(
    base: Path, server: PrivateMariaDB, broker_url: str, *, extra: Sections | None = None, **administration: object
) -> ConfinedAgent:
    """With root's part of the power played by a Keeper of its runtime directory."""
    section = {
        "enabled": True,
        "user": ADMINISTRATOR,
        "password": ADMINISTRATOR_PASSWORD,
        "power": "systemd",
        "power_s": 300,
        **administration,
    }
    return daemon_agent(base, server, [broker_url], extra={**(extra or {}), "administration": section})


def ask(agent: ConfinedAgent, operation: str, **data: Any) -> dict[str, Any]:
    return command(f"instance.{operation}", {"instance_id": agent.instance_id, "account_id": ACCOUNT, **data})


def answers(platform: Platform, message: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for kind in ENDS for event in platform.events(message["id"], kind)]


def answer(platform: Platform, message: dict[str, Any], *, seconds: float = PATIENCE) -> dict[str, Any]:
    """The `data` of the event that answers it."""
    until(lambda: answers(platform, message), f"an answer to {message['type']}", seconds)
    data: dict[str, Any] = answers(platform, message)[0]["data"]
    return data


def do(platform: Platform, agent: ConfinedAgent, operation: str, **data: Any) -> dict[str, Any]:
    """Asks, and waits for the answer."""
    message = ask(agent, operation, **data)
    platform.send(message)
    return answer(platform, message)


def refusal(data: dict[str, Any]) -> tuple[str, str, int | None]:
    return data["status"], data["error"]["code"], data["error"]["status"]


def names(server: PrivateMariaDB) -> set[str]:
    return {str(row[0]) for row in server.query("SHOW DATABASES")}


def users(server: PrivateMariaDB) -> set[tuple[str, str]]:
    return {(str(user), str(host)) for user, host in server.query("SELECT User, Host FROM mysql.user")}


def fresh(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:8]}"

"""Two chains of real backups, taken once; each test works on a copy of their store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_agent.journal.sqlite import SqliteJournal
from tests.agent import checksums
from tests.e2e.judging import serving
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Sections
from tests.servers.mariadb import PrivateMariaDB

UNREACHABLE = "amqp://127.0.0.1:1/"
"""A broker that is away: events stay in the outbox."""
REMEMBERING: Sections = {**SMALL_CHUNKS, "broker": {"urls": [UNREACHABLE]}}


@dataclass(frozen=True)
class Shelf:
    """`base` <- `child` <- `grandchild`, `base` <- `twin`, and `other` <- `others_child`."""

    agent: ConfinedAgent
    server: PrivateMariaDB
    base: str
    child: str
    grandchild: str
    twin: str
    other: str
    others_child: str
    rows: dict[str, tuple[int, int | None]]
    """What the last one holds."""

    @property
    def first_chain(self) -> set[str]:
        return {self.base, self.child, self.grandchild, self.twin}

    @property
    def second_chain(self) -> set[str]:
        return {self.other, self.others_child}

    def copy(self, base: Path, extra: Sections = REMEMBERING) -> ConfinedAgent:
        """An agent of the same instance with a copy of the store, and nothing in its journal."""
        agent = ConfinedAgent(base, self.server, instance_id=self.agent.instance_id, extra=extra)
        shutil.copytree(self.agent.store, agent.store)
        return agent


def fill(base: Path, server: PrivateMariaDB) -> Shelf:
    agent = ConfinedAgent(base / "agent", server)
    full = agent.backup("--name", "base")["id"]
    child = agent.backup("--name", "child", "--parent", full)["id"]
    grandchild = agent.backup("--name", "grandchild", "--parent", child)["id"]
    twin = agent.backup("--name", "twin", "--parent", full)["id"]
    other = agent.backup("--name", "other")["id"]
    rows = checksums(server, ["shop"])
    last = agent.backup("--name", "other's child", "--incremental")["id"]
    return Shelf(agent, server, full, child, grandchild, twin, other, last, rows)


def stored(agent: ConfinedAgent) -> set[str]:
    """The ids below which the store has any object."""
    return {Path(name).parts[2] for name in agent.stored_files() if len(Path(name).parts) > 3}


def listed(agent: ConfinedAgent) -> set[str]:
    return {one["id"] for one in agent.run("list", "--json").json["backups"]}


def outbox(agent: ConfinedAgent) -> list[tuple[str, str]]:
    """Which events wait to be told, and of which backups, in order."""
    journal = SqliteJournal(agent.journal_dir / f"{agent.instance_id}.journal", outbox=True)
    events = [(one.type.value, one.backup_id) for one in journal.pending(1000)]
    journal.close()
    return events


def restores(agent: ConfinedAgent, backup_id: str, target: Path, rows: dict[str, Any]) -> None:
    agent.restore(backup_id, target)
    with serving(target) as restored:
        assert checksums(restored, ["shop"]) == rows

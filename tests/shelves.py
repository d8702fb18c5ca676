"""Two chains of backups, made once; each test works on a copy of their store.

Real ones, and ones of random bytes: those have manifests and chunks as real ones do, and need no server.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import BackupType, Chunk, LsnRange, Parent, SealedManifest, Totals, encode, seal
from backup_agent.journal.sqlite import SqliteJournal
from tests.agent import checksums
from tests.e2e.judging import serving
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Sections
from tests.servers.mariadb import PrivateMariaDB
from tests.unit.manifests import manifest_of

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


def write(base: Path) -> Shelf:
    """Of random bytes: nothing but the way back into a server is missing."""
    agent = ConfinedAgent(base / "agent", PrivateMariaDB(base / "nowhere"))
    names = ("base", "child", "grandchild", "twin", "other", "other's child")
    parents = (None, 0, 1, 0, None, 4)
    written: list[SealedManifest] = []
    for number, (name, parent) in enumerate(zip(names, parents, strict=True)):
        written.append(_write_one(agent, name, number, written[parent] if parent is not None else None))
    full, child, grandchild, twin, other, last = (one.manifest.id for one in written)
    return Shelf(agent, PrivateMariaDB(base / "nowhere"), full, child, grandchild, twin, other, last, {})


def _write_one(agent: ConfinedAgent, name: str, number: int, parent: SealedManifest | None) -> SealedManifest:
    place = BackupPlace("z_CLOUDDB_BACKUPS", agent.instance_id, str(uuid.uuid4()))
    bodies = [os.urandom(1000) for _ in range(3)]
    chunks = tuple(Chunk(raw_size=1000, stored_size=1000, sha256=sha256(body).hexdigest()) for body in bodies)
    made = manifest_of(
        place,
        name=name,
        type=BackupType.INCREMENTAL if parent else BackupType.FULL,
        parent=Parent(id=parent.manifest.id, manifest_sha256=parent.checksum) if parent else None,
        lsn=LsnRange(from_lsn=1000 if parent else 0, to_lsn=1000, last_lsn=2000),
        chunks=chunks,
        totals=Totals(raw_size=3000, stored_size=3000, raw_sha256=sha256(b"".join(bodies)).hexdigest()),
        finished=f"2026-11-{10 + number}T12:00:00.000Z",
    )
    directory = agent.directory(place.backup_id)
    directory.mkdir(parents=True)
    for at, body in enumerate(bodies):
        (directory / f"chunk-{at:08d}.zst").write_bytes(body)
    data = encode(made)
    (directory / "manifest.json").write_bytes(data)
    return SealedManifest(made, seal(data))


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

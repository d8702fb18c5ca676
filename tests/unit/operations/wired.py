"""The services as the configuration makes them, on a store in a directory, without any server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from backup_agent.app.wiring import for_backups, wire
from backup_agent.config.file import load
from backup_agent.domain.event import BackupEvent
from backup_agent.domain.process import ProcessId
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.operations.services import BackupServices
from backup_agent.storage.interface import Store
from tests.faults.agents import ConfinedAgent
from tests.shelves import Shelf

DEAD = ProcessId(pid=2**22 + 1, started="none/1")


class Heard:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[BackupEvent] = []

    def publish(self, event: BackupEvent) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(event.type.value, event.backup_id) for event in self.events]


class Desk:
    """An agent's services in this process, with a copy of a shelf, and who hears of it."""

    def __init__(self, shelf: Shelf, base: Path) -> None:
        self.shelf = shelf
        self.agent: ConfinedAgent = shelf.copy(base)
        self.heard = Heard()
        config = load(self.agent.config_file)
        self.journal = SqliteJournal(self.agent.journal_dir / f"{self.agent.instance_id}.journal", outbox=True)
        self.services: BackupServices = for_backups(wire(config, self.heard), config, self.journal)

    def with_store(self, wrap: Callable[[Store], Store]) -> BackupServices:
        """The services, on the store as `wrap` makes it."""
        connect = self.services.connect_store
        return replace(self.services, connect_store=lambda cancellation, seconds: wrap(connect(cancellation, seconds)))

    @property
    def outbox(self) -> list[tuple[str, str]]:
        return [(one.type.value, one.backup_id) for one in self.journal.pending(1000)]

"""What the operations work with; `app` puts it together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Reserved
from backup_agent.engine.interface import Engine, PrivateServers
from backup_agent.instance.administration import Administration, Power, Vitals
from backup_agent.instance.interface import Instance, Readers
from backup_agent.journal.interface import Journal
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import Clock
from backup_agent.operations.lock_watch import LockPolicy
from backup_agent.operations.scratch import ScratchSettings
from backup_agent.operations.trust import Signer, Trust
from backup_agent.report.interface import Reporter
from backup_agent.storage.interface import Store
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool_bounds import SpoolSettings


class Holder(Protocol):
    """Who holds the instance's lock."""

    @property
    def pid(self) -> int: ...
    @property
    def command(self) -> str: ...
    @property
    def backup_id(self) -> str | None: ...
    @property
    def since(self) -> datetime: ...


CLEANUP_SECONDS = 60.0
"""How long the removal of a failed backup's chunks goes on trying."""


@dataclass(frozen=True, slots=True)
class Verifying:
    """What only verifications work with."""

    scratch: ScratchSettings
    servers: PrivateServers
    lower_priority: Callable[[], None]
    """Of the calling thread, and of all that it will start, for good."""


@dataclass(frozen=True, slots=True)
class Services:
    agent_version: str
    policy: Policy
    trust: Trust
    container: str
    """Used where a command names none."""
    stream: StreamSettings
    spool: SpoolSettings
    locks: LockPolicy
    instance: Instance
    engine: Engine
    reporter: Reporter
    """A log, or a person."""
    clock: Clock
    lock: Callable[[str, str | None, Cancellation], AbstractContextManager[object]]
    """The instance's lock, by the name of the command and the backup's id. Raises BusyError; losing it cancels."""
    lock_holder: Callable[[], Holder | None]
    """Who has the instance's lock now."""
    readers: Readers
    """Of the instance's backups on this host: a backup is not removed while it is read."""
    verifying: Verifying
    connect_store: Callable[[Cancellation, float | None], Store]
    """The store, whose retries end with the cancellation, or after so many seconds (None: as configured)."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Whether a backup of the queue that was interrupted is taken again, and how often one is begun at most."""

    wanted: bool
    at_most: int


@dataclass(frozen=True, slots=True)
class Administered:
    """What operations on the instance itself work with, where they are enabled."""

    server: Administration
    vitals: Vitals
    power: Power
    reserved: Reserved
    power_within: float
    """Seconds that a restart or a stop may take."""


@dataclass(frozen=True, slots=True)
class BackupServices(Services):
    """And what those need who take backups."""

    signer: Signer | None
    """Signs the manifests of new backups; None: they are not signed."""
    journal: Journal
    """Told everything that the reporter is told, first of all."""
    retries: Retries
    guard: Callable[[Cancellation], AbstractContextManager[str | None]]
    """Inside of the lock: keeps the database from being stopped. Yields a warning when it can't."""
    administration: Administered | None = None
    """Operations on the instance: for the daemon, where they are enabled."""
    operation_wait: float = 0.0
    """Seconds that a backup waits for the end of an operation on the instance."""

"""Starts a private server on restored files, and has it check every table.

What it does not do: restore them, or decide what a server that ends says of the backup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.verification import Fault
from backup_agent.engine.interface import PrivateServer
from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.table_check import Table, TableCheck
from backup_agent.operations.restore import RestoreProgress
from backup_agent.operations.scratch import User
from backup_agent.operations.services import Services

log = structlog.get_logger(__name__)

_GONE_WITHIN = 60.0
"""Seconds a server that broke a connection off may take to write a trace of its stack, and end."""
_LOOK_EVERY = 0.05


@dataclass(slots=True)
class Served:
    """What was seen so far; of a server that ended by itself, until then. Times in seconds."""

    start: float | None = None
    check: float | None = None
    server_version: str | None = None
    tables: list[Table] = field(default_factory=list)
    checked: list[Table] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def checked_bytes(self) -> int:
        return sum(table.size for table in self.checked)

    @property
    def at(self) -> str:
        """What is, or was, being done."""
        return f"checking table {self.tables[len(self.checked)]}" if self.tables else "listing its tables"


class Serving:
    def __init__(
        self, services: Services, cancellation: Cancellation, on_progress: Callable[[RestoreProgress], None]
    ) -> None:
        self._services = services
        self._cancellation = cancellation
        self._on_progress = on_progress

    def run(self, datadir: Path, user: User | None, served: Served) -> None:
        """Notes in `served` what it sees. Raises EngineError (`restored_unusable`, `private_server_failed`), and
        InstanceError when a server that lives answers with an error.
        """
        began = self._now()
        with self._services.verifying.servers.serve(datadir, user, self._cancellation) as server:
            served.start = self._now() - began
            try:
                self._ask(server, served)
            except InstanceError as error:
                self._cancellation.check()
                self._await_end(server, error)
                raise server.failure(served.at) from error
            served.check = self._now() - began - served.start
            if server.errors:
                log.warning("the private server complained", lines=list(server.errors))

    def _ask(self, server: PrivateServer, served: Served) -> None:
        with TableCheck(server.socket) as asking:
            served.server_version = asking.server_version()
            served.tables = asking.tables()
            total = sum(table.size for table in served.tables)
            for table in served.tables:
                self._cancellation.check()
                self._on_progress(RestoreProgress("checking the tables", served.checked_bytes, total))
                finding = asking.check(table)
                if finding.broken is not None:
                    message = f"table {table}: {finding.broken}"
                    served.faults.append(Fault(code=ErrorCode.TABLE_CORRUPT.value, message=message))
                elif finding.unchecked is not None:
                    served.unchecked.append(f"{table}: {finding.unchecked}")
                served.checked.append(table)

    def _await_end(self, server: PrivateServer, error: InstanceError) -> None:
        """A server that lives has answered with an error, which is then ours."""
        deadline = self._now() + _GONE_WITHIN
        while not server.ended:
            if self._now() > deadline:
                raise error
            self._cancellation.wait(_LOOK_EVERY)
            self._cancellation.check()

    def _now(self) -> float:
        return self._services.clock.monotonic()

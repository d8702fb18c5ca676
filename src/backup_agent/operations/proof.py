"""What a verification works on, and what it finds of one backup of a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backup_agent.cancellation import Cancellation
from backup_agent.domain.chain import Chain
from backup_agent.domain.verification import Fault, Figures
from backup_agent.errors import BackupAgentError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.restore import RestoreProgress
from backup_agent.operations.scratch import ScratchSettings
from backup_agent.operations.services import Services
from backup_agent.stream.identity import Identity


@dataclass(frozen=True, slots=True)
class Examination:
    """A chain that is looked at, and with what. With `each`, all of its backups are proven, else the last one alone."""

    chain: Chain
    each: bool
    identities: tuple[Identity, ...]
    scratch: ScratchSettings
    catalogue: Catalogue
    services: Services
    cancellation: Cancellation
    on_progress: Callable[[RestoreProgress], None]

    def concerns(self, number: int) -> bool:
        """Whether link `number`, counted from the base, is to be proven."""
        return self.each or number == len(self.chain) - 1


@dataclass(frozen=True, slots=True)
class Proof:
    """Of link `number` with all before it. `breaks_chain`: nothing after that link can be restored either."""

    number: int
    figures: Figures
    faults: tuple[Fault, ...] = ()
    unchecked: tuple[str, ...] = ()
    server_version: str | None = None
    breaks_chain: bool = False


def fault(error: BackupAgentError) -> Fault:
    return Fault(code=error.code.value, message=error.message)

"""Which process did something: its number alone would be another's after a while."""

from __future__ import annotations

from backup_agent.domain.frozen import Frozen


class ProcessId(Frozen):
    pid: int
    started: str
    """The boot, and the clock tick of it, in which the process began: no setting of the clock shifts that."""

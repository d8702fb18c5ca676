"""Which process did something: its number alone would be another's after a while."""

from __future__ import annotations

from backup_agent.domain.frozen import Frozen


class ProcessId(Frozen):
    pid: int
    started: float
    """Seconds since the epoch."""

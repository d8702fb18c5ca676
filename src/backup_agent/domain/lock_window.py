"""How long writers had to wait, stage by stage."""

from __future__ import annotations

from backup_agent.domain.frozen import Frozen


class LockWindow(Frozen):
    """The write stalls of one backup, in milliseconds, measured by this agent's monotonic clock on the engine's log.

    `nontransactional_ms` runs from the line that starts `BACKUP STAGE FLUSH` to `All tables unlocked`, `innodb_ms` from
    the line that starts `BLOCK_COMMIT` to the same end: waiting for a stage already stalls writers, so the count begins
    with the wish, not with `Acquired`.
    """

    innodb_ms: int
    nontransactional_ms: int
    stages_ms: dict[str, int]
    """Each stage by its name (`START`, `FLUSH`, `BLOCK_DDL`, `BLOCK_COMMIT`), to the start of the next."""

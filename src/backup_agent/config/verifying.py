"""How backups are proven."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath

from backup_agent.config.section import Section, Text


class VerifyConfig(Section):
    """How `backup-agent verify` restores a backup and serves it, and at whose cost."""

    scratch_dir: Path = Path("/var/lib/backup-agent/verify")
    """Where a backup is restored to be verified; needs as much room as the data. Best on another disk than the data
    directory's."""
    server_binary: Text = "mariadbd"
    """Path or name of the server that is started on it, of the series of the backup's."""
    buffer_pool_mib: Annotated[int, Field(ge=8, le=1 << 20)] = 128
    """Memory for its InnoDB buffer pool, in MiB."""
    user: Text | None = None
    """Whom it runs as when root verifies. By default whom scratch_dir belongs to, or mysql if that is root."""
    include: FilePath | None = None
    """The only option file it reads: for the key plugin of data encrypted at rest. Nothing in /etc/mysql is read."""
    server_args: tuple[Text, ...] = ()
    """More arguments for it, appended last."""
    nice: Annotated[int, Field(ge=0, le=19)] = 15
    """CPU niceness of a verification with all it starts."""
    ionice: Literal["idle", "best-effort", "none"] = "idle"
    """Its I/O class: `best-effort` takes its lowest priority, `none` leaves it alone."""

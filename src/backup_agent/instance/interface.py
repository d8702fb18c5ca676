"""What the agent needs to know of a database instance, and the one lock that every operation on it takes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from backup_agent.domain.lineage import Lineage
from backup_agent.domain.manifest import BinlogPosition
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.table_files import Files, TableFile


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at a running server. Sizes in bytes."""

    version: str
    datastore: Literal["mariadb", "mysql"]
    datadir: Path
    lineage: Lineage
    lsn: int
    """Where InnoDB's log ends now."""
    replica: bool
    galera: bool
    data_at_rest_encryption: bool
    nontransactional_bytes: int
    """Of MyISAM, non-transactional Aria, CSV and ARCHIVE tables, from the files: write-locked while they are copied."""
    started: int
    """When the server was started: seconds since the epoch by its own clock; the same as long as it runs."""
    datadir_bytes: int
    """What a full backup will about read."""
    newest_tablespace: int = 0
    """The largest id of InnoDB's tablespaces: those made later have larger ones. 0 when it was not asked for."""


class Instance(Protocol):
    """A database server. Each call makes its own connection; calls may come from any thread."""

    def facts(self) -> Facts:
        """Raises InstanceError: `database_unreachable`, `database_denied`, `grant_missing`, `datadir_unreadable`."""
        ...

    def missing_grants(self, *, replica: bool, kill: bool = False) -> tuple[str, ...]:
        """The privileges that a backup needs and the user lacks, as GRANT names them; empty when all is well.

        `kill` when it may kill what blocks it.
        """
        ...

    def binlog_digest(self, position: BinlogPosition) -> str | None:
        """A fingerprint (SHA-256, hex) of the binary log's bytes up to `position`: equal as long as the server goes on,
        another one when its data directory was put back since. None when the file is gone or can't be read.
        """
        ...

    def table_files(self, datadir: Path, which: Files = Files.ALL) -> dict[str, TableFile]:
        """The files of tables outside of InnoDB as they are now, by path below `datadir`.

        Raises InstanceError (`datadir_unreadable`).
        """
        ...

    def connections(self) -> frozenset[int]:
        """The ids of the connections of the agent's database user, the asking one left out."""
        ...

    def blockers(self, datadir: Path) -> tuple[Blocker, ...]:
        """The connections that make the engine wait for its locks, or would if it asked for them now; longest first.

        A statement that takes a millisecond is one as long as it runs: look at `age_s`. Cheap enough to be asked ten
        times a second. Without the plugin METADATA_LOCK_INFO not all can be told (`instance.blockers`). Always empty
        on MySQL. Raises InstanceError.
        """
        ...

    def kill_query(self, blocker: Blocker) -> bool:
        """Ends that very statement, not its connection. False when it has ended by itself.

        Raises InstanceError: `invalid_request` when the blocker is protected, `grant_missing` (CONNECTION ADMIN).
        """
        ...


class Readers(Protocol):
    """Who reads backups on this host, and who removes some. Any thread; never waits.

    Both raise BusyError (`backup_busy`) and InstanceError (`lock_unusable`).
    """

    def reading(self, backup_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Nobody on this host removes these backups inside. Give a whole chain; look again inside that it is there."""
        ...

    def removing(self, backup_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Nobody on this host reads these backups inside. To be held from before the first manifest is removed."""
        ...

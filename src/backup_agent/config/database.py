"""The database instance, the engine that reads it, and what a backup may do to those who write to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, field_validator, model_validator

from backup_agent.config.section import Section, Text
from backup_agent.domain.ids import AccountId, InstanceId

_OURS = (
    "backup", "prepare", "stream", "compress", "databases", "tables", "partial", "export", "incremental", "defaults",
    "target-dir", "extra-lsndir", "datadir", "tmpdir", "user", "password", "host", "port", "socket", "no-lock",
)  # fmt: skip
"""Beginnings of the engine's options that may not be given as extra arguments."""


class InstanceConfig(Section):
    """The database instance this agent serves."""

    id: InstanceId
    """The instance's UUID on the platform; without a platform, any UUID, once chosen."""
    account_id: AccountId
    """The account (tenant) that owns the instance. Commands for another account are rejected."""
    socket: Path | None = None
    """The server's Unix socket. Leave it out to connect by host and port."""
    host: Text = "localhost"
    """Used when no socket is given. The server must run on this host: the engine reads its files."""
    port: Annotated[int, Field(ge=1, le=65535)] = 3306
    """Used when no socket is given."""
    user: Text = "backup_agent"
    """The database user; the README has the statements that create it."""
    password: SecretStr | None = None
    """Its password. Leave it out for unix_socket authentication."""
    password_file: Path | None = None
    """A file that holds the password (such as a systemd credential); its last line break is ignored."""
    nontransactional: Literal["allow", "warn", "refuse"] = "warn"
    """What to do when MyISAM, CSV, ARCHIVE or non-transactional Aria tables would be write-locked while copied."""
    nontransactional_threshold_mib: Annotated[int, Field(ge=0)] = 16
    """The policy speaks up from this many MiB in such tables; every server has a few in its system tables."""
    allow_galera: bool = False
    """Back up a Galera node although BACKUP STAGE may desynchronise it."""
    allow_unproven_lineage: bool = False
    """Take an incremental although the server was restarted since the parent and no binary log proves its data."""
    runtime_dir: Path = Path("/run/backup-agent")
    """Holds the lock of the instance and the engine's small temporary files; one directory for all who serve it."""

    @model_validator(mode="after")
    def _one_password(self) -> InstanceConfig:
        if self.password is not None and self.password_file is not None:
            msg = "give either password or password_file, not both"
            raise ValueError(msg)
        return self


class EngineConfig(Section):
    """The program that reads the database."""

    kind: Literal["mariadb-backup", "xtrabackup"] = "mariadb-backup"
    """mariadb-backup for MariaDB; xtrabackup for MySQL 8 and Percona Server (see the README on its state)."""
    binary: Text | None = None
    """Path or name of the engine; the kind's own name by default."""
    stream_binary: Text | None = None
    """Path or name of mbstream (xbstream for xtrabackup)."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 2
    """Files the engine copies at a time. On a disk without much to spare, 1 leaves InnoDB's commits more of it; 2 copy
    many non-transactional tables, which are locked meanwhile, in a third less time (docs/benchmarks)."""
    log_copy_interval_ms: Annotated[int, Field(ge=1, le=10_000)] = 40
    """How often the redo log is copied. The engine's own default of 1000 stalls commits for up to a second; below some
    30 it often has nothing left to copy when commits wait for it, and then sleeps for 200 (docs/benchmarks)."""
    throttle: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """I/O operations a second, as the engine counts them. It slows the copying of locked tables most."""
    prepare_memory_mib: Annotated[int, Field(ge=16)] = 256
    """Memory for the engine's --prepare, in MiB."""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    """CPU niceness of the engine while it copies; while tables are locked it has the agent's own."""
    ionice: Literal["idle", "best-effort", "none"] = "best-effort"
    """I/O class of the engine while it copies: `best-effort` takes its lowest priority, `none` leaves it alone."""
    extra_args: tuple[Text, ...] = ()
    """More arguments for the engine's --backup, appended last."""
    include: FilePath | None = None
    """An option file the engine also reads, such as /etc/mysql/my.cnf: for the key plugin of data encrypted at rest."""

    @field_validator("extra_args")
    @classmethod
    def _only_what_is_the_operators(cls, extra_args: tuple[str, ...]) -> tuple[str, ...]:
        for argument in extra_args:
            name = argument.lstrip("-").partition("=")[0].replace("_", "-")
            if name.startswith(_OURS):
                msg = f"--{name} is not for extra_args: it would make the backup partial or is the agent's own business"
                raise ValueError(msg)
        return extra_args


class LocksConfig(Section):
    """What a backup may do to those who write to the database meanwhile. Times in seconds."""

    max_lock_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    """How long MyISAM and other non-transactional tables may be locked, waiting for the locks included. Past it the
    engine is killed, the locks are free, and the backup has failed."""
    blocker_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 60
    """How long to wait, before the start, for statements of others that would keep the backup from its locks."""
    stall_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 5
    """How long to wait for such statements once other writers wait behind the backup."""
    on_blocker: Literal["fail", "kill", "wait"] = "fail"
    """After that time: fail the backup, or KILL QUERY those statements (never those of replication, of the system, of
    users with SUPER, or of this agent). `kill` needs CONNECTION ADMIN ON *.* and
    SELECT (User, Super_priv, is_role) ON mysql.user. `wait` does not
    look out for them: the backup waits in line, with writers behind it, until max_lock_seconds."""
    standstill_s: Annotated[float, Field(ge=1, le=3600)] = 10
    """How long the engine, the agent or the spool's disk may stand still while tables are locked, before the engine is
    killed."""

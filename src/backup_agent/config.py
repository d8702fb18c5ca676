"""The configuration: one TOML file, parsed once into frozen values; each object gets its own section, not the whole.

Unknown and invalid keys are fatal, named by their full path. Any key can be overridden by the environment:
`BACKUP_AGENT_INSTANCE__PASSWORD` is `instance.password`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from backup_agent.domain.ids import AccountId, ContainerName, InstanceId
from backup_agent.domain.layout import DEFAULT_CONTAINER
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode

DEFAULT_PATH = Path("/etc/backup-agent/backup-agent.toml")
CONFIG_FILE_VARIABLE = "BACKUP_AGENT_CONFIG_FILE"
"""Names the file, so it is no key of it."""
MIB = 1 << 20
_PREFIX = "BACKUP_AGENT_"

Text = Annotated[str, Field(min_length=1)]


_OURS = (
    "backup", "prepare", "stream", "compress", "databases", "tables", "partial", "export", "incremental", "defaults",
    "target-dir", "extra-lsndir", "datadir", "tmpdir", "user", "password", "host", "port", "socket", "no-lock",
)  # fmt: skip
"""Beginnings of the engine's options that may not be given as extra arguments."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InstanceConfig(Section):
    """The database instance this agent serves."""

    id: InstanceId
    """The instance's UUID on the platform; without a platform, any UUID, once chosen (`uuidgen`)."""
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
    """Files the engine copies at a time."""
    log_copy_interval_ms: Annotated[int, Field(ge=1, le=10_000)] = 10
    """How often the redo log is copied. The engine's own default of 1000 stalls commits for up to a second."""
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


class StreamConfig(Section):
    """How the engine's stream is cut, sealed and moved."""

    chunk_mib: Annotated[int, Field(ge=1, le=1024)] = 32
    """Raw bytes in a chunk, in MiB. A chunk is held in memory whole."""
    memory_mib: Annotated[int, Field(ge=4, le=1 << 20)] = 160
    """Bound on the chunks in memory, raw and sealed together, in MiB; at least (2 + threads) chunks."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Chunks compressed at a time."""
    transfers: Annotated[int, Field(ge=1, le=64)] = 4
    """Chunks moved to or from the store at a time."""
    compression: Literal["zstd", "auto", "none"] = "zstd"
    """`auto` is zstd whose level rises, up to 9, while the store is slower than the CPU. `none` stores the stream as it
    is: for data that is compressed or encrypted already."""
    zstd_level: Annotated[int, Field(ge=1, le=19)] = 1
    """zstd compression level; with `auto` the lowest."""

    @model_validator(mode="after")
    def _memory_holds_the_chunks(self) -> StreamConfig:
        least = (2 + self.threads) * self.chunk_mib
        if self.memory_mib < least:
            msg = f"memory_mib must be at least (2 + threads) * chunk_mib = {least}"
            raise ValueError(msg)
        return self


class SpoolConfig(Section):
    """Disk space that keeps a slow store from slowing the database; used when the memory for chunks is full."""

    dir: Path = Path("/var/lib/backup-agent/spool")
    """Best on another disk than the data directory's. Files in it are private, and gone when a backup has ended."""
    max_mib: Annotated[int, Field(ge=0)] | None = None
    """The most it may take; 0 for no spool. By default a quarter of the free space; on the data directory's file system
    at most 2 GiB more than the tables that are locked while they are copied."""
    min_free_mib: Annotated[int, Field(ge=0)] | None = None
    """What has to stay free on its file system. By default, on the data directory's, the larger of 10% and 5 GiB."""


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


class S3Config(Section):
    """Only for s3:// stores. What is left out comes from the environment or the usual AWS files and roles."""

    endpoint_url: Text | None = None
    """For any S3-compatible store; AWS by default."""
    region: Text | None = None
    """The bucket's region."""
    access_key_id: Text | None = None
    """With secret_access_key; otherwise the usual AWS credential chain is used."""
    secret_access_key: SecretStr | None = None
    """With access_key_id."""
    path_style: bool = True
    """https://host/bucket/key, which every store knows; false for https://bucket.host/key."""
    ca_bundle: Path | None = None
    """A file of CA certificates to trust for the endpoint."""

    @model_validator(mode="after")
    def _both_keys(self) -> S3Config:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            msg = "give both access_key_id and secret_access_key, or neither"
            raise ValueError(msg)
        return self


class StoreConfig(Section):
    """Where backups are kept."""

    url: Text
    """`file:///directory` or `s3://bucket[/prefix]`; `{account_id}` in it is replaced by the instance's account."""
    container: ContainerName = DEFAULT_CONTAINER
    """The container (a directory or a key prefix) below the URL."""
    create: bool = True
    """Make the bucket or directory when it is absent."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10
    """Seconds to wait for a connection."""
    read_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for the next byte."""
    retry_for_s: Annotated[float, Field(ge=0, le=86_400)] = 300
    """Seconds to go on trying a request that fails in a way that may pass; 0 tries once."""
    bandwidth_limit_mib_s: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = None
    """MiB a second to and from the store, all transfers together. A slow store needs room in the spool."""
    s3: S3Config = S3Config()


class LogConfig(Section):
    """Logs go to standard error: JSON lines, or readable lines on a terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""


class Config(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_PREFIX, env_nested_delimiter="__", env_nested_max_split=2
    )

    instance: InstanceConfig
    store: StoreConfig
    engine: EngineConfig = EngineConfig()
    stream: StreamConfig = StreamConfig()
    spool: SpoolConfig = SpoolConfig()
    locks: LocksConfig = LocksConfig()
    log: LogConfig = LogConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content is passed to the constructor."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def _check_environment() -> None:
    """A misspelt section would be ignored by the settings library, which looks up only the names it knows."""
    sections = {name.upper() for name in Config.model_fields}
    for name in os.environ:
        section = name.removeprefix(_PREFIX).partition("__")[0].upper()
        if name.startswith(_PREFIX) and name != CONFIG_FILE_VARIABLE and section not in sections:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f"the environment variable {name} names no section of the configuration",
                f"It must be {_PREFIX}SECTION__KEY; docs/reference/configuration.md lists them.",
            )


def load(path: Path) -> Config:
    """Raises ConfigError naming the file and every key that is wrong."""
    _check_environment()
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read the configuration {path}: {error.strerror}",
            "Copy config/backup-agent.toml there, or name another file with --config.",
        ) from error
    except ValueError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f"{path} is not valid TOML: {error}", "Mend the file at the place named."
        ) from error
    try:
        return Config(**_file_keys(content))
    except SettingsError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"a BACKUP_AGENT_ variable of the environment can't be used: {error}",
            "Name single keys, such as BACKUP_AGENT_INSTANCE__PASSWORD; write lists as JSON.",
        ) from None  # the error behind it shows the value
    except ValidationError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"{path} is not a valid configuration: {explain(error, 'the file')}",
            "docs/reference/configuration.md lists every key.",
        ) from error


def _file_keys(content: dict[str, Any]) -> dict[str, Any]:
    """Without what pydantic-settings would take for orders to itself, such as `_env_file`, under names it refuses."""
    return {f"{key}?" if key.startswith("_") else key: value for key, value in content.items()}


def read_password(instance: InstanceConfig) -> str | None:
    """The database password, from the key or the file. Raises ConfigError when the file can't be read."""
    if instance.password is not None:
        return instance.password.get_secret_value()
    if instance.password_file is None:
        return None
    try:
        return instance.password_file.read_text("utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read instance.password_file {instance.password_file}: {error}",
            "Make the file readable by the agent's user, as UTF-8 text.",
        ) from error

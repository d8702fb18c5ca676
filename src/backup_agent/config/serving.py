"""The long-lived agent: its memory, its broker, its behaviour, and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, model_validator

from backup_agent.config.section import Section, Text


class JournalConfig(Section):
    """The agent's own memory: which backups were asked for, how far they are, and which events wait to be told."""

    dir: Path = Path("/var/lib/backup-agent")
    """Holds one SQLite file per instance, on a local disk. All who work on the instance must use the same directory."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    """How long backups that have ended are remembered, so that a command that comes again is not carried out again."""


class BrokerConfig(Section):
    """RabbitMQ, where commands come from and events go to. Only `backup-agent run` and those events need it."""

    urls: tuple[Text, ...] = ()
    """`amqp://` or `amqps://host:port/vhost`, tried in turn; without any, there are no queues. A user and a password in
    them win over the keys below."""
    user: Text | None = None
    """The agent's user at the broker. Leave it out, and give cert_file, for SASL EXTERNAL."""
    password: SecretStr | None = None
    """Its password."""
    password_file: Path | None = None
    """A file that holds the password (such as a systemd credential); its last line break is ignored."""
    ca_file: FilePath | None = None
    """CA certificates to trust for amqps, besides the system's."""
    cert_file: FilePath | None = None
    """The agent's own certificate, PEM, for amqps."""
    key_file: FilePath | None = None
    """Its private key, PEM."""
    declare: bool = True
    """Make exchanges and queues; false only checks that they are there, for users who may not make any."""
    heartbeat_s: Annotated[int, Field(ge=1, le=3600)] = 30
    """AMQP heartbeats: a broker that is silent for twice as long is given up."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10
    """Seconds to wait for a connection."""
    blocked_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """A broker that blocks its publishers (its disk or memory is full) for longer is left and tried again."""
    reconnect_max_s: Annotated[float, Field(ge=0.1, le=3600)] = 30
    """The longest pause between two tries to connect; they begin at a tenth of a second and double, with jitter."""
    dead_letter_limit: Annotated[int, Field(ge=1, le=100_000_000)] = 10_000
    """Messages the dead-letter queue holds at most; the oldest are dropped."""

    @model_validator(mode="after")
    def _whole_credentials(self) -> BrokerConfig:
        if self.password is not None and self.password_file is not None:
            msg = "give either password or password_file, not both"
            raise ValueError(msg)
        if (self.cert_file is None) != (self.key_file is None):
            msg = "give both cert_file and key_file, or neither"
            raise ValueError(msg)
        return self


class ServiceConfig(Section):
    """How `backup-agent run` behaves."""

    on_stop: Literal["cancel", "finish"] = "cancel"
    """What SIGTERM does to a running backup: cancel it, and remove what it has stored; or finish it, and take nothing
    new. A second SIGTERM cancels, a third cuts the clean-up short."""
    stop_within_s: Annotated[float, Field(ge=1, le=86_400)] = 75
    """How long a cancelled backup may clean up; what is left then is removed at the next start."""
    retry_interrupted: bool = False
    """Take a backup again that a crash has interrupted, instead of reporting it FAILED."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often one backup is begun at most: with retry_interrupted, or when each crash came before its work began."""
    heartbeat_s: Annotated[float, Field(ge=1, le=3600)] = 30
    """Seconds between two `agent.heartbeat` events."""


class MetricsConfig(Section):
    """Prometheus metrics. Both ways are off by default."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """`backup-agent run` answers `http://127.0.0.1:PORT/metrics`."""
    textfile: Path | None = None
    """A file for node_exporter's textfile collector, `*.prom`, rewritten after each backup and verification, also
    by `run-once` and `verify`."""


class GuardConfig(Section):
    """Asks systemd to refuse `systemctl stop` of the database, and a shutdown of the host, while a backup runs."""

    enabled: bool = False
    """Needs `backup-agent-guard@INSTANCE_ID.path` to be enabled; see docs/systemd.md."""
    wait_s: Annotated[float, Field(ge=0, le=60)] = 5
    """How long to wait for the guard to stand; without it, the backup goes on with a warning."""


class LogConfig(Section):
    """Logs go to standard error: JSON lines, or readable lines on a terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""

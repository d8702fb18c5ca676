"""The daemon, as the configuration wants it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from backup_agent.app.administration import administered
from backup_agent.app.telling import with_metrics
from backup_agent.app.wiring import for_backups, wire
from backup_agent.broker.probe import probe
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import for_commands, for_events
from backup_agent.config import connecting
from backup_agent.config.file import Config, load
from backup_agent.config.serving import BrokerConfig
from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.inbox.rabbitmq import RabbitInbox
from backup_agent.instance.administration_sighting import Sighting
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.operations.accept import Acceptance
from backup_agent.operations.clock import SystemClock, timestamp
from backup_agent.operations.services import BackupServices
from backup_agent.report.log import LogReporter
from backup_agent.report.metrics import Live
from backup_agent.report.rabbitmq import RabbitPublisher
from backup_agent.report.wire import encode_heartbeat, heartbeat_routing_key
from backup_agent.service.daemon import Daemon, Parts, Settings
from backup_agent.service.following import Following
from backup_agent.service.worker import Worker
from backup_agent.systemd import Notifier
from backup_agent.version import __version__

_FIXED = ("instance.id", "journal", "metrics", "log")


class Serving:
    """Builds the daemon, and parts of it anew when the configuration has changed."""

    def __init__(self, config: Config, file: Path, journal: SqliteJournal) -> None:
        """`file` is where `config` comes from. Raises ConfigError."""
        self._config = config
        self._file = file
        self._journal = journal
        self._following = Following(LogReporter())
        self._sighting = Sighting()
        services = self._services(config)
        self._broker = broker_settings(config.broker)
        self._worker = Worker(services, keep=timedelta(days=config.journal.keep_days))
        self._parts = Parts(
            services,
            _settings(config),
            self._inbox(config, self._broker, services),
            self._publisher(config, self._broker, services),
        )
        self.daemon = Daemon(
            self._parts,
            self._worker,
            Notifier.of(os.environ),
            reload=self._reload,
            describe=lambda: self._following.describe(self._worker.running, self._worker.doing),
        )

    def _reload(self) -> Parts:
        """Raises ConfigError; nothing has changed then."""
        config = load(self._file)
        changed = [name for name in _FIXED if _of(config, name) != _of(self._config, name)]
        if changed:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f"{', '.join(changed)} can't be changed while the agent runs",
                "Restart the agent: systemctl restart backup-agent.",
            )
        services = self._services(config)
        broker = broker_settings(config.broker)  # with what the files now hold, such as a new password
        same_broker = broker == self._broker
        same_inbox = same_broker and all(
            _of(config, name) == _of(self._config, name) for name in ("instance", "administration")
        )
        same_publisher = same_broker and all(
            _of(config, name) == _of(self._config, name) for name in ("service", "spool")
        )
        self._parts = Parts(
            services,
            _settings(config),
            self._parts.inbox if same_inbox else self._inbox(config, broker, services),
            self._parts.publisher if same_publisher else self._publisher(config, broker, services),
        )
        self._config, self._broker = config, broker
        return self._parts

    def _services(self, config: Config) -> BackupServices:
        reporter = with_metrics(self._following, config, self._journal)
        services = for_backups(wire(config, reporter), config, self._journal)
        return replace(services, administration=administered(config, self._sighting))

    def live(self) -> Live:
        """For the metrics."""
        running = self._following.running
        return Live(
            broker_connected=self._parts.inbox.connected and self._parts.publisher.connected,
            spool_bytes=_used(self._parts.services.spool.directory),
            phase=running.phase if running is not None else None,
        )

    def _inbox(self, config: Config, broker: BrokerSettings, services: BackupServices) -> RabbitInbox:
        accept = Acceptance(
            self._journal,
            services.policy,
            services.clock,
            services.reporter,
            on_job=self._worker.wake,
            on_cancel=self._worker.cancel,
            administration=services.administration,
        )
        return RabbitInbox(broker, config.instance.id, accept)

    def _publisher(self, config: Config, broker: BrokerSettings, services: BackupServices) -> RabbitPublisher:
        clock, spool, instance_id = SystemClock(), services.spool.directory, config.instance.id

        def heartbeat() -> tuple[str, bytes]:
            now = timestamp(clock.now())  # before the server is looked at
            body = encode_heartbeat(
                instance_id,
                agent_version=__version__,
                time=now,
                server_running=self._server_running(),
                job=self._worker.running,
                free_spool_bytes=_free(spool),
            )
            return heartbeat_routing_key(instance_id), body

        return RabbitPublisher(broker, self._journal, heartbeat, heartbeat_every=config.service.heartbeat_s)

    def _server_running(self) -> bool | None:
        """Whether it was seen to run since it was last stopped; None where nobody operates on it.

        It is looked at only until it is seen: each look is a connection without a login, a warning in its log.
        """
        administration = self._parts.services.administration
        if administration is None:
            return None
        return self._sighting.running or administration.vitals.listens()


def broker_settings(broker: BrokerConfig) -> BrokerSettings:
    """Raises ConfigError (`config_invalid`), also for certificates that can't be used."""
    return connecting.broker_settings(
        broker,
        without="there is no queue to take commands from",
        hint="Set broker.urls; without a broker, use `backup-agent run-once` and its timers.",
        reader="agent",
    )


def probe_broker(config: Config) -> str:
    """Where commands would come from. Raises BrokerError, and ConfigError."""
    settings, instance_id = broker_settings(config.broker), config.instance.id
    found = probe(settings, for_commands(instance_id, settings.dead_letter_limit))
    probe(settings, for_events())
    return f"{found}: the queue of commands and the exchange of events are there"


def _settings(config: Config) -> Settings:
    return Settings(on_stop=config.service.on_stop, stop_within=config.service.stop_within_s)


def _of(config: Config, path: str) -> object:
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _used(directory: Path) -> int | None:
    try:
        return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    except OSError:  # a backup's files come and go
        return None


def _free(directory: Path) -> int | None:
    """Bytes free where the spool is, or will be; None when that can't be told."""
    try:
        there = next(path for path in (directory, *directory.parents) if path.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return None

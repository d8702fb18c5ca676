"""The control plane as a service: checks what it needs, then runs the workers and the relay until it is stopped."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog

from backup_agent.api import foreign_logs, metrics
from backup_agent.api.catalogue import migrate
from backup_agent.api.metrics import CatalogueCollector
from backup_agent.api.parts import authenticator, open_database, rates
from backup_agent.api.rates import RateLimiter
from backup_agent.api.relay.process import EventMetrics, Relay
from backup_agent.api.relay.sweeping import Patience
from backup_agent.api.relay.sweeping_operations import OperationPatience
from backup_agent.api.settings import ApiConfig, broker_settings
from backup_agent.api.supervisor import Child, supervise
from backup_agent.api.worker import work
from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.systemd import Notifier
from backup_agent.version import __version__

log = structlog.get_logger(__name__)

_BACKLOG = 2048


def serve(config: ApiConfig, environment: Mapping[str, str], counts_directory: str) -> None:
    """Until SIGTERM or SIGINT. All processes count in `counts_directory`. Raises ConfigError, CatalogueError."""
    foreign_logs.route()
    broker = broker_settings(config.broker)
    authenticator(config)
    database = open_database(config)
    try:
        migrate.make_ready(database)
    finally:
        database.close()  # no connection may be shared with the processes to come
    listener = listen(config.http.host, config.http.port)
    limiter = RateLimiter(rates(config))
    children = [
        Child(f"worker {number}", lambda: work(config, listener, limiter)) for number in range(config.http.workers)
    ]
    children.append(Child("relay", lambda: relay(config, broker, counts_directory)))
    host, port = listener.getsockname()[:2]

    def ready() -> None:
        log.info("the API is ready", host=host, port=port, workers=config.http.workers, version=__version__)
        notifier.ready(f"serving on {host}:{port}")

    notifier = Notifier.of(environment)
    gc.collect()
    gc.freeze()  # what there is stays: to look through it stops a process for 0.1 s, and makes it copy what all share
    supervise(children, on_ready=ready, on_stop=lambda: notifier.stopping("stopping"), within=config.http.stop_within_s)


def relay(config: ApiConfig, broker: BrokerSettings, counts_directory: str) -> None:
    """The relay's process, until SIGTERM."""
    foreign_logs.route()
    database = open_database(config)
    silent_after = timedelta(seconds=config.agents.silent_after_s)
    patience = Patience(silent_after, timedelta(seconds=config.agents.start_within_s))
    operations = OperationPatience(
        answer_within=timedelta(seconds=config.operations.begin_within_s) + silent_after,
        remember=timedelta(seconds=config.operations.remember_s),
    )
    running = Relay(
        socket.gethostname()[:64],
        database,
        broker,
        patience,
        operations,
        keep=timedelta(days=config.agents.forget_deleted_days),
        metrics=EventMetrics(),
    )
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    if config.metrics.port is not None:
        collector = CatalogueCollector(database, silent_after, lambda: datetime.now(UTC))
        metrics.serve(config.metrics.port, collector, counts_directory)
    running.run()


def listen(host: str, port: int) -> socket.socket:
    """Raises ConfigError (`config_invalid`)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't listen on {host}:{port}: {error.strerror or os.strerror(error.errno or 0)}",
            "Let http.host and http.port be an address of this host and a port that no other program has.",
        ) from error
    return listener

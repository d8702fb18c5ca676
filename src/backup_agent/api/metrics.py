"""Prometheus metrics: what all processes of this host have counted, and the state of the catalogue at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from backup_agent.api.catalogue import outbox, presence
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.operation import Standing
from backup_agent.api.catalogue.tables import backups, instances, operations
from backup_agent.domain.state import State
from backup_agent.errors import CatalogueError, ConfigError, ErrorCode

log = structlog.get_logger(__name__)

_ADDRESS = "127.0.0.1"


class CatalogueCollector(Collector):
    """Asked at each scrape, from any thread."""

    def __init__(self, database: Database, silent_after: timedelta, now: Callable[[], datetime]) -> None:
        self._database = database
        self._silent_after = silent_after
        self._now = now

    def collect(self) -> Iterator[Metric]:
        readable = _gauge("catalogue_readable", "1 when the catalogue could be read.")
        try:
            found = list(self._read())
        except CatalogueError as error:
            log.warning("metrics without the catalogue: it can't be read", reason=error.message)
            found = []
        readable.add_metric([], bool(found))
        yield readable
        yield from found

    def _read(self) -> Iterator[Metric]:
        now = self._now()
        with self._database.reading() as connection:
            counts = connection.execute(select(backups.c.status, func.count()).group_by(backups.c.status)).all()
            waiting = outbox.depth(connection)
            asked = select(func.count()).select_from(operations).where(operations.c.status == Standing.ASKED)
            unanswered = connection.execute(asked).scalar_one()
            relay = presence.look(connection, now)
            registered = select(func.count()).select_from(instances).where(instances.c.removed.is_(None))
            fleet = connection.execute(registered).scalar_one()
            heard = connection.execute(registered.where(instances.c.heard > now - self._silent_after)).scalar_one()
        by_status = _gauge("backups", "Backups in the catalogue, by status.", ("status",))
        known = {row[0]: row[1] for row in counts}
        for state in State:
            if state is not State.DELETED:
                by_status.add_metric([state.value], known.get(state.value, 0))
        yield by_status
        yield _one("outbox_commands", "Commands that the broker has not confirmed yet.", waiting.commands)
        age = 0.0 if waiting.oldest is None else max(0.0, (now - waiting.oldest).total_seconds())
        yield _one("outbox_oldest_age_seconds", "How long the oldest of them has waited.", age)
        yield _one("operations_unanswered", "Operations on instances that agents have not answered.", unanswered)
        yield _one("broker_connected", "1 when a relay has a connection to the broker.", relay.connected)
        yield _one("instances", "Instances that are registered.", fleet)
        yield _one("instances_heard", "Those whose agents were heard of lately.", heard)


def serve(port: int, collector: CatalogueCollector, directory: str) -> None:
    """On the loopback address, from threads of its own, until the process ends. `directory` is where all count.

    Raises ConfigError (`metrics_unusable`).
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    registry.register(collector)
    try:
        start_http_server(port, _ADDRESS, registry)
    except OSError as error:
        raise ConfigError(
            ErrorCode.METRICS_UNUSABLE,
            f"the metrics can't be served on {_ADDRESS}:{port}: {error.strerror}",
            "Let metrics.port be a port that no other program has.",
        ) from error


def _one(name: str, meaning: str, value: float) -> Metric:
    metric = _gauge(name, meaning)
    metric.add_metric([], value)
    return metric


def _gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"backup_api_{name}", meaning, labels=labels)

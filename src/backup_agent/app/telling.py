"""Who is told of backups, as the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable

from backup_agent.config.file import Config
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.report.interface import Reporter
from backup_agent.report.metrics import Live, Subject
from backup_agent.report.metrics_output import Metrics
from backup_agent.report.several import Several
from backup_agent.report.textfile import MetricsFile
from backup_agent.version import __version__


def metrics(config: Config, journal: SqliteJournal, live: Callable[[], Live] | None = None) -> Metrics:
    return Metrics(Subject(config.instance.id, __version__), journal.snapshot, live)


def with_metrics(reporter: Reporter, config: Config, journal: SqliteJournal) -> Reporter:
    """`reporter`, and the metrics file where there is to be one."""
    path = config.metrics.textfile
    return reporter if path is None else Several(reporter, MetricsFile(metrics(config, journal), path))

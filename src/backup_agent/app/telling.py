"""Who is told of backups, as the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from backup_agent.config.file import Config
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.report.interface import Reporter
from backup_agent.report.several import Several
from backup_agent.report.textfile import MetricsFile
from backup_agent.version import __version__

if TYPE_CHECKING:
    from backup_agent.report.metrics import Live
    from backup_agent.report.metrics_output import Metrics


def metrics(config: Config, journal: SqliteJournal, live: Callable[[], Live] | None = None) -> Metrics:
    # Imported here because their library takes a twentieth of a second to load, which others need not pay for.
    from backup_agent.report.metrics import Subject  # noqa: PLC0415
    from backup_agent.report.metrics_output import Metrics  # noqa: PLC0415

    return Metrics(Subject(config.instance.id, __version__), journal.snapshot, live)


def with_metrics(reporter: Reporter, config: Config, journal: SqliteJournal) -> Reporter:
    """`reporter`, and the metrics file where there is to be one."""
    path = config.metrics.textfile
    return reporter if path is None else Several(reporter, MetricsFile(metrics(config, journal), path))

"""Keeps the metrics file up to date: written when a backup or its verification has ended, however they did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from backup_agent.domain.event import BackupEvent
from backup_agent.domain.state import TERMINAL
from backup_agent.errors import ConfigError

if TYPE_CHECKING:
    from backup_agent.report.metrics_output import Metrics  # with a library that most need not load

log = structlog.get_logger(__name__)


class MetricsFile:
    """To be told after the journal. A file that can't be written is a matter for the log, not for the backup."""

    def __init__(self, metrics: Metrics, path: Path) -> None:
        self._metrics = metrics
        self._path = path

    def publish(self, event: BackupEvent) -> None:
        if event.status not in TERMINAL:
            return
        try:
            self._metrics.write_textfile(self._path)
        except ConfigError as error:
            log.warning("the metrics are not written", code=error.code, reason=error.message, hint=error.hint)

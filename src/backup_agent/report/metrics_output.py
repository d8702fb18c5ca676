"""The two ways to Prometheus: a port of the loopback address, and a file for node_exporter. Says nothing of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.report.metrics import AgentCollector, Live, Remembered, Subject, utc_now

ADDRESS = "127.0.0.1"
"""Anybody who reaches it may read it."""
_FILE_MODE = 0o644
"""node_exporter is another user."""


class MetricsServer(Protocol):
    @property
    def port(self) -> int: ...

    def close(self) -> None:
        """Frees the port. Idempotent; may take half a second."""
        ...


class Metrics:
    """The metrics of one agent. Safe from any thread; nothing of it is global."""

    def __init__(
        self,
        subject: Subject,
        journal: Callable[[], Remembered],
        live: Callable[[], Live] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`live` may be left out by a process that only writes the file."""
        self._writing = threading.Lock()
        self._lasting = _registry(AgentCollector(subject, journal, None, now))
        self._momentary = _registry(AgentCollector(subject, journal, live, now))

    def write_textfile(self, path: Path) -> None:
        """All at once: a reader sees the former content or the new one. Raises ConfigError (`metrics_unusable`)."""
        try:
            with self._writing:
                self._write(path)
        except OSError as error:
            raise ConfigError(
                ErrorCode.METRICS_UNUSABLE,
                f"the metrics can't be written to {path}: {error.strerror}",
                "Let metrics.textfile name a file in a directory that the agent's user may write to.",
            ) from error

    def _write(self, path: Path) -> None:
        draft = path.with_name(f"{path.name}.{os.getpid()}")  # node_exporter reads *.prom alone
        try:
            draft.write_bytes(generate_latest(self._lasting))
            draft.chmod(_FILE_MODE)
            draft.replace(path)
        except OSError:
            with suppress(FileNotFoundError):
                draft.unlink()
            raise

    def serve(self, port: int) -> MetricsServer:
        """Answers on the loopback address from threads of its own, until it is closed; 0 chooses a free port.

        Raises ConfigError (`metrics_unusable`).
        """
        return _Server(port, self._momentary)


class _Server:
    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        try:
            self._server, self._thread = start_http_server(port, ADDRESS, registry)
        except OSError as error:
            raise ConfigError(
                ErrorCode.METRICS_UNUSABLE,
                f"the metrics can't be served on {ADDRESS}:{port}: {error.strerror}",
                "Let metrics.port be a port that no other program has; each agent of a host needs one of its own.",
            ) from error

    @property
    def port(self) -> int:
        return self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _registry(collector: AgentCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry

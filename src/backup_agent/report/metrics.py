"""What Prometheus is told of an agent: the state of its journal and of itself, as they are at that moment.

Nothing is counted here: what has to outlive the process is in the journal. What it does not do: decide what is a fault;
config/alerts.yml shows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backup_agent.domain.event import EventType
from backup_agent.domain.state import Phase
from backup_agent.domain.verification import Level, Verdict
from backup_agent.errors import BackupAgentError
from backup_agent.report.told import Told, told

log = structlog.get_logger(__name__)

PREFIX = "backup_agent_"
_OUTCOMES = {EventType.COMPLETED: "completed", EventType.FAILED: "failed", EventType.REJECTED: "rejected"}
_UNKNOWN = "unknown"


class RememberedBackup(Protocol):
    """A backup that has ended."""

    @property
    def updated(self) -> datetime: ...
    @property
    def last_event(self) -> bytes | None: ...


class Remembered(Protocol):
    """What the journal holds: its snapshot."""

    @property
    def last_completed(self) -> RememberedBackup | None: ...
    @property
    def last_failed(self) -> RememberedBackup | None: ...
    @property
    def outcomes(self) -> Mapping[EventType, int]: ...
    @property
    def verdicts(self) -> Sequence[Verdict]: ...
    @property
    def since(self) -> datetime: ...
    @property
    def outbox_depth(self) -> int: ...
    @property
    def outbox_oldest(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Live:
    """What only the running agent knows. None: there is no such thing."""

    broker_connected: bool | None
    spool_bytes: int | None
    phase: Phase | None
    """Of the running backup; None when there is none."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom the metrics are about."""

    instance_id: str
    agent_version: str


class AgentCollector(Collector):
    """Asked at each scrape, from any thread.

    `live` None is for a file that is read later: then nothing is told that holds at that moment only, ages included.
    """

    def __init__(
        self,
        subject: Subject,
        journal: Callable[[], Remembered],
        live: Callable[[], Live] | None,
        now: Callable[[], datetime],
    ) -> None:
        self._subject = subject
        self._journal = journal
        self._live = live
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """A journal that can't be read is told of, by a metric and in the log; the rest is told all the same."""
        info = _gauge("info", "The agent that tells this.", ("instance_id", "version"))
        info.add_metric([self._subject.instance_id, self._subject.agent_version], 1)
        yield info
        try:
            remembered = list(self._remembered(self._journal()))
        except (BackupAgentError, ValueError) as error:
            log.warning("metrics without the journal: it can't be read", reason=str(error))
            remembered = []
        yield self._one("journal_readable", "1 when the agent's journal could be read.", bool(remembered))
        yield from remembered
        if self._live is not None:
            yield from self._running(self._live())

    def _remembered(self, found: Remembered) -> Iterator[Metric]:
        yield self._one("journal_created_timestamp_seconds", "When the journal was begun.", found.since.timestamp())
        yield self._one("outbox_events", "Events that the broker has not confirmed yet.", found.outbox_depth)
        if self._live is not None:
            yield self._one(
                "outbox_oldest_age_seconds", "How long the oldest of them has waited.", self._age(found.outbox_oldest)
            )
        outcomes = CounterMetricFamily(
            f"{PREFIX}backups", "Backups that have ended, by outcome.", labels=("instance_id", "outcome")
        )
        for kind, outcome in _OUTCOMES.items():
            outcomes.add_metric(
                [self._subject.instance_id, outcome], found.outcomes.get(kind, 0), created=found.since.timestamp()
            )
        yield outcomes
        if found.last_completed is not None:
            yield from self._completed(found.last_completed)
        if found.last_failed is not None:
            yield self._failed(found.last_failed)
        yield from self._verified(found.verdicts)

    def _completed(self, backup: RememberedBackup) -> Iterator[Metric]:
        last = "last_completed"
        yield self._one(
            f"{last}_timestamp_seconds", "When the last completed backup was done.", backup.updated.timestamp()
        )
        if self._live is not None:
            yield self._one(f"{last}_age_seconds", "How long ago that is.", self._age(backup.updated))
        said = _said(backup)
        if said is None:
            return
        yield self._one(f"{last}_raw_bytes", "Of the engine's stream.", said.bytes_read)
        yield self._one(f"{last}_stored_bytes", "In the store, compressed.", said.bytes_stored)
        if said.created is not None and said.updated is not None:
            seconds = (said.updated - said.created).total_seconds()
            yield self._one(f"{last}_duration_seconds", "How long it took.", seconds)
        locks = _gauge(
            f"{last}_lock_seconds", "How long writers of such tables had to wait.", ("instance_id", "tables")
        )
        for tables, milliseconds in (
            ("innodb", said.innodb_lock_ms),
            ("nontransactional", said.nontransactional_lock_ms),
        ):
            if milliseconds is not None:
                locks.add_metric([self._subject.instance_id, tables], milliseconds / 1000)
        yield locks

    def _failed(self, backup: RememberedBackup) -> Metric:
        said = _said(backup)
        code = said.error.code if said is not None and said.error is not None else _UNKNOWN
        failed = _gauge(
            "last_failed_timestamp_seconds",
            "When a backup failed, or was rejected, last; and with which error.",
            ("instance_id", "code"),
        )
        failed.add_metric([self._subject.instance_id, code], backup.updated.timestamp())
        return failed

    def _verified(self, verdicts: Sequence[Verdict]) -> Iterator[Metric]:
        last = _gauge(
            "last_verified_timestamp_seconds",
            "When a verification of that level last ended with that result.",
            ("instance_id", "level", "result"),
        )
        for one in verdicts:
            last.add_metric([self._subject.instance_id, one.level.value, one.result.value], one.time.timestamp())
        if verdicts:
            yield last
        for one in verdicts:
            if one.level is Level.RESTORE and one.passed and one.seconds_to_serve is not None:
                yield self._one(
                    "last_verified_restore_seconds",
                    "How long the last restore that passed took until a server answered, at low priority.",
                    one.seconds_to_serve,
                )

    def _running(self, live: Live) -> Iterator[Metric]:
        running = _gauge("running", "1 for the phase of the backup that runs.", ("instance_id", "phase"))
        for phase in Phase:
            running.add_metric([self._subject.instance_id, phase.value], phase is live.phase)
        yield running
        if live.broker_connected is not None:
            yield self._one("broker_connected", "1 when commands and events can flow.", live.broker_connected)
        if live.spool_bytes is not None:
            yield self._one("spool_bytes", "What the spool takes on disk.", live.spool_bytes)

    def _one(self, name: str, meaning: str, value: float) -> Metric:
        metric = _gauge(name, meaning, ("instance_id",))
        metric.add_metric([self._subject.instance_id], value)
        return metric

    def _age(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else max(0.0, (self._now() - moment).total_seconds())


def utc_now() -> datetime:
    return datetime.now(UTC)


def _said(backup: RememberedBackup) -> Told | None:
    return None if backup.last_event is None else told(backup.last_event)


def _gauge(name: str, meaning: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}{name}", meaning, labels=labels)

"""What was measured: rows, and their medians. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Phase = Literal["full", "slow", "outage", "incremental", "restore", "idle"]
PHASES: tuple[Phase, ...] = ("full", "slow", "outage", "incremental", "restore", "idle")

IDLE = "idle"
"""The row of no backup at all."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one contender, or the medians over the rounds. None where a figure makes no sense."""

    phase: Phase
    contender: str
    title: str
    seconds: float
    cpu_s: float
    rest_cpu_s: float
    """CPU of everything else on the machine meanwhile: the server, the stores, the load, and strangers."""
    peak_bytes: int
    raw_bytes: int
    """Of the stream that mariadb-backup makes; of a restore, of the stream that it reads."""
    agent_bytes: int | None = None
    stored_bytes: int | None = None
    innodb_ms: float | None = None
    innodb_p99_ms: float | None = None
    myisam_ms: float | None = None
    myisam_p99_ms: float | None = None
    innodb_lock_ms: float | None = None
    """How long InnoDB's commits were blocked, by the engine's log: a stall without what the disk adds to it."""
    myisam_lock_ms: float | None = None
    tps: float | None = None
    serve_s: float | None = None
    """Of a restore: the part of `seconds` that the server took until it answered."""

    @property
    def mb_per_s(self) -> float:
        return self.raw_bytes / 1e6 / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Omission:
    """A contender that has no row, and why."""

    phase: Phase
    contender: str
    reason: str
    broken: bool
    """It was there, but failed."""


def medians(rows: Iterable[Row]) -> list[Row]:
    """One row for each phase and contender, in the order in which they first come."""
    groups: dict[tuple[Phase, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.phase, row.contender), []).append(row)
    return [_median(group) for group in groups.values()]


def _median(group: Sequence[Row]) -> Row:
    def of(name: str) -> Any:  # noqa: ANN401 - a figure of any of the row's types
        values = [value for row in group if (value := getattr(row, name)) is not None]
        return median(values) if values else None

    first = group[0]
    names = [name for name in first.as_dict() if name not in {"phase", "contender", "title"}]
    return Row(first.phase, first.contender, first.title, **{name: of(name) for name in names})


def find(rows: Iterable[Row], phase: Phase, contender: str) -> Row | None:
    return next((row for row in rows if (row.phase, row.contender) == (phase, contender)), None)

"""What was measured of the control plane, and what was wanted. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LIST = "list"
CREATE = "create"
LEAST_PER_S = 1000.0
MOST_MS = 100.0
FLAT = 1.5
"""How many times as long a list may take with a full catalogue: as much as two runs of the same differ by."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long users waited for one kind of request, from when it was due to be sent."""

    kind: str
    count: int
    refused: int
    """Answered by anything but what was asked for."""
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Some seconds of users beside a fleet. `cpu` is in cores, by who used them."""

    database: str
    backups: int
    """In the catalogue at the end."""
    seconds: float
    told: int
    """Events that agents published meanwhile."""
    taken: int
    """Events that were in the catalogue at the end, of these and of earlier ones."""
    cpu: dict[str, float]
    waits: tuple[Waits, ...]

    @property
    def per_s(self) -> float:
        return self.taken / self.seconds

    def of(self, kind: str) -> Sequence[Waits]:
        return [waits for waits in self.waits if waits.kind.startswith(kind)]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events that had waited, taken in as fast as can be."""

    database: str
    backups: int
    events: int
    seconds: float
    cpu: dict[str, float]

    @property
    def per_s(self) -> float:
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one database. `few` and `many` are how users fared beside the fleet; `calm`, with hardly any events."""

    database: str
    version: str
    few: Watch
    calm: Watch
    many: Watch
    backlog: Backlog


@dataclass(frozen=True, slots=True)
class Target:
    """`bound` is the least that is wanted, or else the most."""

    what: str
    bound: float
    reached: float
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        return self.reached >= self.bound if self.least else self.reached <= self.bound

    @property
    def verdict(self) -> str:
        return "met" if self.met else "**not met**"


def waits_of(kind: str, seconds: Sequence[float], refused: int) -> Waits:
    """`seconds` of each request that was answered as it should be."""
    ordered = sorted(seconds) or [0.0]
    return Waits(
        kind,
        len(seconds),
        refused,
        1000 * _percentile(ordered, 0.50),
        1000 * _percentile(ordered, 0.99),
        1000 * ordered[-1],
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that as many are not above."""
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def judge(measured: Iterable[Measured]) -> list[Target]:
    found: list[Target] = []
    for one in measured:
        name = one.database
        found += [
            Target(f"{name}: events taken in, after a pause", LEAST_PER_S, one.backlog.per_s, "/s", least=True),
            Target(
                f"{name}: of the events told beside users, taken in", 0.98, one.many.taken / one.many.told, least=True
            ),
            Target(f"{name}: p99 of list, beside the events", MOST_MS, _worst(one.many.of(LIST)), " ms"),
            Target(f"{name}: p99 of create, beside the events", MOST_MS, _worst(one.many.of(CREATE)), " ms"),
            Target(f"{name}: p50 of list, to that with few backups", FLAT, _growth(one)),
            Target(f"{name}: requests refused", 0, sum(waits.refused for waits in one.many.waits)),
        ]
    return found


def _worst(waits: Iterable[Waits]) -> float:
    return max(one.p99_ms for one in waits)


def _growth(one: Measured) -> float:
    before = {waits.kind: waits.p50_ms for waits in one.few.of(LIST)}
    return max(waits.p50_ms / before[waits.kind] for waits in one.many.of(LIST))


def as_dict(target: Target) -> dict[str, Any]:
    return {
        "what": target.what,
        "bound": target.bound,
        "least": target.least,
        "reached": target.reached,
        "unit": target.unit,
        "met": target.met,
    }

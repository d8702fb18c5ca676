"""What backup-agent wants to reach, and what it reached. Pure: decides from the medians, measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.contenders import AWS, COMPRESSED, ENCRYPTED_AWS, OURS, OURS_ENCRYPTED, REFERENCE, REFERENCE_FAST_LOG
from bench.results import Row, find

MET, NOT_MET, NOT_MEASURED = "met", "not met", "not measured"
MAX_BYTES = 256 << 20
UNCHANGED = 1.5
"""How far two lock windows may be apart and still be called the same: they differ as much from run to run."""


@dataclass(frozen=True, slots=True)
class Target:
    """`reached` is None when a row that it needs is missing."""

    what: str
    at_most: float
    reached: float | None
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.reached is None:
            return NOT_MEASURED
        return MET if self.reached <= self.at_most else NOT_MET


def judge(medians: Sequence[Row], cores: int) -> list[Target]:
    full, slow = find(medians, "full", OURS), find(medians, "slow", OURS)
    stock = find(medians, "full", REFERENCE)
    fast_log = find(medians, "full", REFERENCE_FAST_LOG)
    compressed = find(medians, "full", COMPRESSED)
    hand = find(medians, "full", AWS)
    incremental = find(medians, "incremental", OURS)
    away, idle = find(medians, "outage", OURS), find(medians, "idle", OURS)
    return [
        Target("full: time, to `| zstd -1 -T0 | aws s3 cp -`", 0.55, _ratio(full, hand, "seconds")),
        Target(
            "full, encrypted: time, to `| zstd -1 -T0 | age | aws s3 cp -`",
            1.0,
            _ratio(find(medians, "full", OURS_ENCRYPTED), find(medians, "full", ENCRYPTED_AWS), "seconds"),
        ),
        Target(
            "full: time, to the CPU bound (CPU seconds of `mariadb-backup | zstd -1 -T0` by cores)",
            1.2,
            full.seconds / (compressed.cpu_s / cores) if full and compressed else None,
        ),
        Target("InnoDB stall, to stock `mariadb-backup`", 0.1, _ratio(full, stock, "innodb_ms")),
        Target("InnoDB stall, store held to 30 MB/s, to stock", 0.1, _ratio(slow, stock, "innodb_ms")),
        Target(
            "MyISAM stall, store held to 30 MB/s, to `--log-copy-interval=10 > /dev/null`",
            1.5,
            _ratio(slow, fast_log, "myisam_ms"),
        ),
        Target("peak memory of the agent's process (VmHWM)", MAX_BYTES / (1 << 20), _agent_mib(medians), " MiB"),
        Target(
            "incremental: time, to `--incremental-lsn > /dev/null`",
            1.15,
            _ratio(incremental, find(medians, "incremental", REFERENCE), "seconds"),
        ),
        Target(
            "restore to a serving database: time, to `aws | zstd | mbstream`, `--prepare`",
            0.8,
            _ratio(find(medians, "restore", OURS), find(medians, "restore", AWS), "seconds"),
        ),
        Target("MyISAM stall, store away for a while, to one that stays", UNCHANGED, _ratio(away, full, "myisam_ms")),
        Target("idle: CPU, of a core", 0.2, 100 * idle.cpu_s / idle.seconds if idle else None, "%"),
    ]


def _ratio(one: Row | None, other: Row | None, figure: str) -> float | None:
    if one is None or other is None:
        return None
    above, below = getattr(one, figure), getattr(other, figure)
    return above / below if above is not None and below else None


def _agent_mib(medians: Iterable[Row]) -> float | None:
    peaks = [row.agent_bytes for row in medians if row.agent_bytes is not None and row.phase != "idle"]
    return max(peaks) / (1 << 20) if peaks else None

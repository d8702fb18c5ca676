"""Writes the report: Markdown for people, JSON for programs, and pictures where matplotlib can be had."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.load import RATE
from bench.outages import OUTAGE_SECONDS
from bench.phases import Bench, tell
from bench.results import IDLE, PHASES, Phase, Row, find, medians
from bench.server import Sizes
from bench.targets import NOT_MET, Target, judge
from bench.tools import python_of

_TITLES: dict[Phase, str] = {
    "full": "Full backup",
    "slow": "Full backup, store held to {rate} MB/s",
    "outage": "Full backup, store away for {outage} s in the middle of it",
    "incremental": "Incremental of 1% changed pages (`--incremental-lsn`)",
    "restore": "Restore to a serving database",
    "idle": "The agent as a daemon, with nothing to do",
}
_PICTURE_SECONDS = 120


def write(bench: Bench, directory: Path, *, filled_by: str, slow_rate: int, draw: bool) -> str:
    """README.md, results.json and the pictures, into `directory`; the text of the first."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = medians(bench.rows)
    targets = judge(rows, machine.cores())
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "size_mb": bench.total // 1_000_000,
        "rounds": bench.rounds,
        "filled_by": filled_by,
        "slow_bytes_per_second": slow_rate,
        "machine": machine.describe(bench.load_before),
        "versions": machine.versions(),
    }
    results = {
        **facts,
        "medians": [row.as_dict() for row in rows],
        "runs": [row.as_dict() for row in bench.rows],
        "omissions": [
            {"phase": one.phase, "contender": one.contender, "reason": one.reason, "broken": one.broken}
            for one in bench.omissions
        ],
        "targets": [
            {"what": one.what, "at_most": one.at_most, "reached": one.reached, "verdict": one.verdict}
            for one in targets
        ],
    }
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    pictures = _draw(directory) if draw else []
    text = "\n\n".join(
        _sections(bench, rows, targets, filled_by=filled_by, rate=slow_rate // 1_000_000, pictures=pictures)
    )
    (directory / "README.md").write_text(text + "\n")
    tell(doing="done", report=str(directory / "README.md"))
    return text


def _sections(
    bench: Bench, rows: Sequence[Row], targets: Iterable[Target], *, filled_by: str, rate: int, pictures: Sequence[str]
) -> Iterable[str]:
    yield "# Benchmark"
    yield "<!-- Written by `make bench`; do not edit. -->"
    yield _method(bench, filled_by, rate)
    yield "## Targets"
    yield _targets(targets)
    for phase in PHASES:
        if any(row.phase == phase for row in rows):
            yield f"## {_TITLES[phase].format(rate=rate, outage=OUTAGE_SECONDS)}"
            yield _table(rows, phase)
            yield from _locks(rows, phase)
            yield from (f"![{name}]({name})" for name in pictures if name == f"{phase}.png")
    if bench.omissions:
        yield "## Left out"
        yield "\n".join(
            f"- {one.phase}, {one.contender}: {'**failed**: ' if one.broken else ''}{one.reason.splitlines()[0]}"
            for one in bench.omissions
        )
    yield "## Machine and versions"
    yield _grid(("what", "which"), list({**machine.describe(bench.load_before), **machine.versions()}.items()))


def _method(bench: Bench, filled_by: str, rate: int) -> str:
    sizes = Sizes.of(bench.total)
    where = "in memory, as a store elsewhere has its own disk" if bench.store_in_memory else "on the same disk"
    return f"""\
{datetime.now(UTC):%Y-%m-%d}: {sizes.innodb // 1_000_000} MB of InnoDB and {sizes.myisam // 1_000_000} MB of MyISAM,
filled by {filled_by} with sysbench's rows (random digits); medians of {bench.rounds} round(s).

One private MariaDB with normal durability (`innodb_flush_log_at_trx_commit = 1`, `O_DIRECT`), the stores and the
contenders share this machine; the S3 store's files are {where}.
In a round every contender runs once, in turn. Before each, InnoDB's dirty pages are flushed and the file system is
synced; nothing is dropped from the page cache, so that all read the same warm files.
Each stores into a place of its own that is removed afterwards: restic's repository is new each time, and can't gain by
what it had stored before. All tools run with their defaults.

- *seconds*: of the whole command line, its start included; *MB/s*: of the raw stream that `mariadb-backup` makes.
- *CPU s*: user and system time of the command's whole process tree (`wait4`); *rest*: of everything else on the machine
  in the same time, that is the server, the stores and the load.
- *memory*: the peak of the tree's summed proportional set sizes (PSS), sampled 5 times a second; in brackets the
  agent's own process by the kernel's count (VmHWM).
- *stalls*: the longest single insert of a loop that inserts a row every 5 ms, one loop into an InnoDB and one into a
  MyISAM table, from a process of their own.
- *TPS*: what a light load ({RATE} transactions a second, one thread) got through, as a share of what it got through
  with no backup.
- The slow store is the same store behind a line of {rate} MB/s for all connections together.
- The store that goes away hangs for half of the time, with connections open, and then refuses them. What was backed up
  is restored and served."""


def _targets(targets: Iterable[Target]) -> str:
    return _grid(
        ("target", "at most", "measured", ""),
        [
            (
                one.what.replace("|", "\\|"),
                f"{one.at_most:g}{one.unit}",
                "-" if one.reached is None else f"{one.reached:.2f}{one.unit}",
                f"**{one.verdict}**" if one.verdict == NOT_MET else one.verdict,
            )
            for one in targets
        ],
    )


def _table(rows: Sequence[Row], phase: Phase) -> str:
    match phase:
        case "restore":
            return _restores(rows)
        case "idle":
            return _idle(rows)
        case _:
            return _backups(rows, phase)


def _locks(rows: Sequence[Row], phase: Phase) -> Iterable[str]:
    for row in rows:
        if row.phase == phase and row.innodb_lock_ms is not None and row.myisam_lock_ms is not None:
            yield (
                f"The locks of {row.title} by the engine's log: InnoDB {row.innodb_lock_ms:.0f} ms, "
                f"MyISAM {row.myisam_lock_ms:.0f} ms. What a writer felt beyond that is the disk and the CPU."
            )


def _idle(rows: Sequence[Row]) -> str:
    return _grid(
        ("agent", "seconds", "CPU s", "of a core", "resident MB"),
        [
            (
                row.title,
                _number(row.seconds),
                _number(row.cpu_s, 2),
                f"{row.cpu_s / row.seconds:.2%}",
                _megabytes(row.agent_bytes),
            )
            for row in rows
            if row.phase == "idle"
        ],
    )


def _restores(rows: Sequence[Row]) -> str:
    return _grid(
        ("contender", "seconds", "of these: server start", "MB/s", "CPU s", "rest", "memory MB", "stored MB"),
        [
            (
                row.title,
                _number(row.seconds, 2),
                _number(row.serve_s, 2),
                _number(row.mb_per_s),
                _number(row.cpu_s, 1),
                _number(row.rest_cpu_s, 1),
                _memory(row),
                _megabytes(row.stored_bytes),
            )
            for row in rows
            if row.phase == "restore"
        ],
    )


def _backups(rows: Sequence[Row], phase: Phase) -> str:
    idle = find(rows, phase, IDLE)
    return _grid(
        (
            "contender",
            "seconds",
            "MB/s",
            "CPU s",
            "rest",
            "memory MB",
            "stored MB",
            "InnoDB stall ms",
            "MyISAM stall ms",
            "TPS",
        ),
        [_cells(row, idle) for row in rows if row.phase == phase],
    )


def _cells(row: Row, idle: Row | None) -> tuple[str, ...]:
    share = f"{row.tps / idle.tps:.0%}" if row.tps is not None and idle and idle.tps else "-"
    stalls = (_number(row.innodb_ms), _number(row.myisam_ms))
    if row.contender == IDLE:
        return (row.title, *["-"] * 6, *stalls, f"{row.tps:.1f}/s")
    speed = (_number(row.seconds, 2), _number(row.mb_per_s), _number(row.cpu_s, 1), _number(row.rest_cpu_s, 1))
    return (row.title, *speed, _memory(row), _megabytes(row.stored_bytes), *stalls, share)


def _memory(row: Row) -> str:
    own = f" ({_megabytes(row.agent_bytes)})" if row.agent_bytes is not None else ""
    return f"{_megabytes(row.peak_bytes)}{own}"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _megabytes(size: float | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _draw(directory: Path) -> list[str]:
    """The names of the pictures; none without matplotlib."""
    python = python_of("plots")
    if python is None:
        tell(doing="draw", left_out="matplotlib is not installed")
        return []
    for old in directory.glob("*.png"):
        old.unlink()
    done = subprocess.run(
        [python, str(Path(__file__).with_name("plots.py")), str(directory)],
        capture_output=True,
        text=True,
        timeout=_PICTURE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the pictures can't be drawn:\n{done.stderr}")
    return sorted(path.name for path in directory.glob("*.png"))

"""Writes the report: api.md for people, api.json for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import machine
from bench.api.measuring import Bench
from bench.api.results import Measured, Target, Watch, as_dict, judge
from bench.api.users import CREATES_PER_S, LISTS_PER_S
from bench.phases import tell

_DISTRIBUTIONS = ("fastapi", "pika", "psycopg", "SQLAlchemy", "uvicorn")

_QUIET = 0.5
"""The load average, before all begins, up to which a machine has nothing else to do."""
_BUSY = """\
**The machine was busy with other things before this began** (its load is below), and likely meanwhile: the CPU of
*others* says how much was left for those who were measured. Times and rates that were reached in spite of
that are good; all else, and what is compared, has to be measured again on a quiet machine."""


def write(measured: Sequence[Measured], bench: Bench, directory: Path, *, load_before: float) -> str:
    """Into `directory`; the text of api.md."""
    directory.mkdir(parents=True, exist_ok=True)
    targets = judge(measured)
    facts = {"machine": machine.describe(load_before), "versions": _versions(bench, measured)}
    results = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "agents": len(bench.instance_ids),
        "sizes": asdict(bench.sizes),
        **facts,
        "measured": [asdict(one) for one in measured],
        "targets": [as_dict(target) for target in targets],
    }
    (directory / "api.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n\n".join(_sections(measured, bench, targets, facts))
    (directory / "api.md").write_text(text + "\n")
    tell(doing="done", report=str(directory / "api.md"))
    return text


def _sections(
    measured: Sequence[Measured], bench: Bench, targets: Iterable[Target], facts: dict[str, dict[str, str]]
) -> Iterable[str]:
    yield "# Benchmark of the API"
    yield "<!-- Written by `make bench-api`; do not edit. -->"
    yield _method(bench)
    if float(facts["machine"]["load before"]) > _QUIET:
        yield _BUSY
    yield "## Targets"
    yield _targets(targets)
    for one in measured:
        yield f"## {one.database}"
        yield _waits(one)
        yield _cpu(one)
    yield "## Machine and versions"
    yield _grid(("what", "which"), [pair for group in facts.values() for pair in group.items()])


def _method(bench: Bench) -> str:
    sizes = bench.sizes
    agents = len(bench.instance_ids)
    return f"""\
{datetime.now(UTC):%Y-%m-%d}: {agents} simulated agents, a private RabbitMQ, the database, the API with its defaults
(two workers and the relay) and its users share this machine. All that is durable by default is durable here.

All instances and backups belong to one account, which is the hardest case: an account's backups are counted and
listed, and its creates wait for each other. The agents tell {sizes.rate:g} events a second in all: progress, beginnings
and ends of backups, and a heartbeat each 30 seconds. Users list {LISTS_PER_S} times and create {CREATES_PER_S} times
a second; the agents carry out what they create. Each request has its moment, and a wait is counted from that, not from
when it could be sent.

- *events*: that many a second are told, and are taken in, meanwhile.
- *p50*, *p99*, *max*: of the users' waits over {sizes.seconds:g} s.
- *backlog*: {sizes.backlog} events were told while the API was stopped; how fast it takes them in when it is back.
- *CPU*: in cores, of those who take part; *others* are all else on the machine."""


def _targets(targets: Iterable[Target]) -> str:
    return _grid(
        ("target", "wanted", "measured", ""),
        [
            (
                one.what,
                f"{'at least' if one.least else 'at most'} {one.bound:g}{one.unit}",
                f"{one.reached:.{0 if one.reached >= 100 else 2}f}{one.unit}",  # noqa: PLR2004 - no figure is that exact
                one.verdict,
            )
            for one in targets
        ],
    )


def _waits(one: Measured) -> str:
    lines = [
        (
            f"{watch.backups}",
            f"{watch.told / watch.seconds:.0f}/s, {watch.per_s:.0f}/s",
            waits.kind,
            str(waits.count),
            str(waits.refused),
            f"{waits.p50_ms:.1f}",
            f"{waits.p99_ms:.1f}",
            f"{waits.max_ms:.0f}",
        )
        for watch in (one.few, one.calm, one.many)
        for waits in watch.waits
    ]
    return _grid(("backups", "events", "request", "count", "refused", "p50 ms", "p99 ms", "max ms"), lines)


def _cpu(one: Measured) -> str:
    names = sorted({name for watch in (one.few, one.calm, one.many) for name in watch.cpu} | set(one.backlog.cpu))
    lines = [_cpu_line(watch, names) for watch in (one.few, one.calm, one.many)]
    backlog = one.backlog
    lines.append(
        (
            str(backlog.backups),
            f"backlog of {backlog.events}: {backlog.per_s:.0f}/s",
            *(f"{backlog.cpu.get(name, 0.0):.2f}" for name in names),
        )
    )
    return _grid(("backups", "events", *(f"CPU of {name}" for name in names)), lines)


def _cpu_line(watch: Watch, names: Sequence[str]) -> tuple[str, ...]:
    return (str(watch.backups), f"{watch.per_s:.0f}/s", *(f"{watch.cpu.get(name, 0.0):.2f}" for name in names))


def _versions(bench: Bench, measured: Sequence[Measured]) -> dict[str, str]:
    found = {"python": platform.python_version(), "backup-agent": machine.own_version()}
    found |= {name: version(name) for name in _DISTRIBUTIONS}
    return found | {"RabbitMQ": bench.broker.ctl("version").strip(), **{one.database: one.version for one in measured}}


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

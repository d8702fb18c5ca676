"""The restore phase: from the store to a database that answers a query, by hand and by backup-agent.

The clock runs from the first command to the query's answer; then, unmeasured, every row is compared.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import AWS, OURS, PIPELINES, BrokenError, Pipeline, Run, aws, aws_settings
from bench.fill import INNODB, MYISAM
from bench.measure import Measured, measure
from bench.ours import Agent, agent_bytes, command, result, take_full
from bench.phases import Bench, tell
from bench.results import Row
from bench.server import serve
from bench.stores import BUCKET
from tests.agent import checksums

_FIRST_QUERY = f"SELECT k, c, pad FROM {INNODB}.sbtest1 WHERE id = 1"


@dataclass(frozen=True, slots=True)
class _Restorer:
    """A backup that was taken, and how it is restored into a directory."""

    key: str
    title: str
    command: Callable[[Path], list[str]]
    environment: dict[str, str]
    check: Callable[[Measured], object]
    raw_bytes: int
    stored_bytes: int | None


def restore(bench: Bench) -> None:
    before = checksums(bench.server, [INNODB, MYISAM])
    with bench.run(bench.fast) as by_hand, bench.run(bench.fast) as ours:
        restorers = []
        if bench.present("restore", [Agent()]):
            restorers.append(_by_agent(ours))
        pipeline = next(one for one in PIPELINES if one.key == AWS)
        if bench.present("restore", [pipeline]):
            raw = restorers[0].raw_bytes if restorers else 0
            restorers.insert(0, _by_hand(pipeline, by_hand, raw or bench.total))
        for number in range(1, bench.rounds + 1):
            tell(phase="restore", round=number)
            for restorer in list(restorers):
                try:
                    bench.keep(_one(bench, restorer, before))
                except (BrokenError, TimeoutError, RuntimeError) as error:
                    restorers.remove(restorer)
                    bench.omit("restore", restorer.key, str(error), broken=True)
        if bench.fast.s3 is not None:
            for run in (by_hand, ours):
                bench.fast.s3.remove(run.prefix)


def _by_hand(pipeline: Pipeline, run: Run, raw: int) -> _Restorer:
    measured = measure(pipeline.command(run), run.directory, environment=pipeline.environment(run))
    pipeline.check(run, measured)

    def command_into(target: Path) -> list[str]:
        into = shlex.quote(str(target))
        fetch = f"{aws(run)} s3 cp s3://{BUCKET}/{run.prefix}backup.zst - | zstd -q -dc | mbstream -x -C {into}"
        script = f"mkdir {into}; {fetch}; mariadb-backup --prepare --target-dir={into}"
        return ["bash", "-e", "-o", "pipefail", "-c", script]

    def check(restored: Measured) -> None:
        if restored.status != 0 or "completed OK!" not in restored.stderr:
            raise BrokenError(f"the restore by hand ended with {restored.status}:\n{restored.stderr[-4000:]}")

    title = "`aws s3 cp \\| zstd -dc \\| mbstream -x`, `--prepare`"
    return _Restorer(AWS, title, command_into, dict(aws_settings(run)), check, raw, pipeline.stored(run, measured))


def _by_agent(run: Run) -> _Restorer:
    config, backup = take_full(run)

    def command_into(target: Path) -> list[str]:
        return command(config, "restore", backup["id"], "--target-dir", str(target))

    title = "**`backup-agent restore`**"
    return _Restorer(OURS, title, command_into, {}, result, backup["raw_size"], backup["stored_size"])


def _one(bench: Bench, restorer: _Restorer, before: dict[str, tuple[int, int | None]]) -> Row:
    base = bench.directory / "restored"
    base.mkdir()
    os.sync()
    try:
        target = base / "data"
        measured = measure(restorer.command(target), base, environment=restorer.environment)
        restorer.check(measured)
        begin = time.monotonic()
        with serve(base / "server", bench.total, target) as server:
            rows = server.query(_FIRST_QUERY)
            serve_s = time.monotonic() - begin
            after = checksums(server, [INNODB, MYISAM])
    finally:
        shutil.rmtree(base)
    if not rows or after != before:
        different = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        raise BrokenError(f"{restorer.key} restored other rows in {', '.join(different)}")
    return Row(
        "restore",
        restorer.key,
        restorer.title,
        measured.seconds + serve_s,
        measured.cpu_s,
        measured.rest_cpu_s,
        measured.peak_bytes,
        restorer.raw_bytes,
        agent_bytes=agent_bytes(measured) if restorer.key == OURS else None,
        stored_bytes=restorer.stored_bytes,
        serve_s=serve_s,
    )

"""The phases of the benchmark: who runs, in which order, on what. Measures; judges and prints nothing.

Contenders take turns within a round, so that a machine that grows slower is felt by all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.contenders import (
    AWS,
    COMPRESSED,
    ENCRYPTED_AWS,
    PIPELINES,
    REFERENCE,
    BrokenError,
    Contender,
    Run,
    Stores,
    mariadb_backup,
)
from bench.load import Background
from bench.measure import Measured, measure
from bench.ours import ENCRYPTED, Agent, agent_bytes, lock_windows, take_full
from bench.results import IDLE, Omission, Phase, Row
from bench.server import change_pages, settle
from tests.servers.mariadb import PrivateMariaDB

CHANGED_SHARE = 0.01
_LIMIT_SECONDS = 7200


@dataclass
class Bench:
    """What all phases share."""

    directory: Path
    server: PrivateMariaDB
    fast: Stores
    slow: Stores
    total: int
    rounds: int
    chosen: frozenset[str]
    """Keys of contenders; all when empty."""
    by_sysbench: bool
    idle_s: float
    daemon_s: float
    """How long the idle daemon is watched."""
    load_before: float
    """The machine's load average before."""
    absent: dict[str, str]
    """Why a kind of store is missing."""
    store_in_memory: bool = False
    """Whether the S3 store's files are, and not on the database's disk."""
    rows: list[Row] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)

    def wants(self, key: str) -> bool:
        return not self.chosen or key in self.chosen

    @contextmanager
    def run(self, stores: Stores, since_lsn: int | None = None) -> Iterator[Run]:
        name = uuid.uuid4().hex
        directory = self.directory / f"run-{name}"
        directory.mkdir()
        try:
            yield Run(directory, f"{name}/", self.server, stores, since_lsn)
        finally:
            shutil.rmtree(directory)

    def present(self, phase: Phase, contenders: Sequence[Contender]) -> list[Contender]:
        """The chosen ones that can take part; the others are noted."""
        able = []
        for contender in contenders:
            if not self.wants(contender.key):
                continue
            reason = contender.missing() or self._without_store(contender)
            if reason is None:
                able.append(contender)
            else:
                self.omit(phase, contender.key, reason, broken=False)
        return able

    def _without_store(self, contender: Contender) -> str | None:
        if isinstance(contender, Agent) or contender.store == "none":
            return None
        return self.absent.get(contender.store)

    def omit(self, phase: Phase, contender: str, reason: str, *, broken: bool) -> None:
        self.omissions.append(Omission(phase, contender, reason, broken))
        tell(phase=phase, contender=contender, **{"broken" if broken else "left_out": reason})

    def keep(self, row: Row) -> None:
        self.rows.append(row)
        tell(**{key: round(value, 3) if isinstance(value, float) else value for key, value in row.as_dict().items()})


def tell(**what: object) -> None:
    """A JSON line of progress."""
    line = {"at": f"{datetime.now(UTC):%H:%M:%S}", **{key: value for key, value in what.items() if value is not None}}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def full(bench: Bench) -> None:
    _take_turns(bench, "full", [*PIPELINES, Agent(), ENCRYPTED], bench.fast)


def slow(bench: Bench) -> None:
    if bench.slow.s3 is None and bench.slow.swift is None:
        bench.omit("slow", "all", bench.absent.get("s3", "there is no store to slow down"), broken=False)
        return
    """But those who encrypt: what limits them there is the store, as it does the others."""
    able = [one for one in (*PIPELINES, Agent()) if one.store != "none" and one.key != ENCRYPTED_AWS]
    _take_turns(bench, "slow", able, bench.slow)


def incremental(bench: Bench) -> None:
    """Everyone's parent is one full backup, and everyone copies the same changes since."""
    with bench.run(bench.fast) as base:
        config, parent = take_full(base)
        changed = change_pages(bench.server, CHANGED_SHARE)
        tell(phase="incremental", rows_changed=changed)
        contenders = [one for one in PIPELINES if one.key in {REFERENCE, COMPRESSED, AWS}]
        ours = Agent(parent=(config, parent["id"]))
        _take_turns(bench, "incremental", [*contenders, ours], bench.fast, parent["lsn"]["to_lsn"])
        if bench.fast.s3 is not None:
            bench.fast.s3.remove(base.prefix)


def _take_turns(
    bench: Bench, phase: Phase, contenders: Sequence[Contender], stores: Stores, since_lsn: int | None = None
) -> None:
    able = bench.present(phase, contenders)
    raw = raw_bytes(bench, stores, since_lsn)
    for number in range(1, bench.rounds + 1):
        tell(phase=phase, round=number)
        measure_idle(bench, phase)
        for contender in list(able):
            with bench.run(stores, since_lsn) as run:
                try:
                    bench.keep(take_one(bench, phase, contender, run, raw))
                except (BrokenError, TimeoutError) as error:
                    able.remove(contender)
                    bench.omit(phase, contender.key, str(error), broken=True)


def raw_bytes(bench: Bench, stores: Stores, since_lsn: int | None) -> int:
    """The size of the stream, by a run that nobody measures and that warms the page cache for all."""
    with bench.run(stores, since_lsn) as run:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{mariadb_backup(run, '--log-copy-interval=10')} | wc -c"],
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            log = (run.directory / "engine.log").read_text("utf-8", "replace")
            raise RuntimeError(f"mariadb-backup can't read this server:\n{log[-4000:]}")
        return int(done.stdout)


def measure_idle(bench: Bench, phase: Phase) -> None:
    with bench.run(bench.fast) as run, _load(bench, run) as load:
        load.begin()
        measured = measure(["sleep", str(bench.idle_s)], run.directory)
        felt = load.end()
    bench.keep(
        Row(
            phase,
            IDLE,
            "no backup",
            measured.seconds,
            measured.cpu_s,
            measured.rest_cpu_s,
            measured.peak_bytes,
            0,
            innodb_ms=felt.innodb_ms,
            innodb_p99_ms=felt.innodb_p99_ms,
            myisam_ms=felt.myisam_ms,
            myisam_p99_ms=felt.myisam_p99_ms,
            tps=felt.tps,
        )
    )


def take_one(bench: Bench, phase: Phase, contender: Contender, run: Run, raw: int) -> Row:
    contender.prepare(run)
    with _load(bench, run) as load:
        load.begin()
        measured = measure(
            contender.command(run), run.directory, environment=contender.environment(run), limit_s=_LIMIT_SECONDS
        )
        felt = load.end()
    contender.check(run, measured)
    innodb_lock, myisam_lock = lock_windows(measured) if isinstance(contender, Agent) else (None, None)
    row = Row(
        phase,
        contender.key,
        contender.title,
        measured.seconds,
        measured.cpu_s,
        measured.rest_cpu_s,
        measured.peak_bytes,
        raw,
        agent_bytes=_agent_bytes(contender, measured),
        stored_bytes=contender.stored(run, measured),
        innodb_ms=felt.innodb_ms,
        innodb_p99_ms=felt.innodb_p99_ms,
        myisam_ms=felt.myisam_ms,
        myisam_p99_ms=felt.myisam_p99_ms,
        innodb_lock_ms=innodb_lock,
        myisam_lock_ms=myisam_lock,
        tps=felt.tps,
    )
    contender.remove(run, measured)
    return row


def _agent_bytes(contender: Contender, measured: Measured) -> int | None:
    return agent_bytes(measured) if isinstance(contender, Agent) else None


@contextmanager
def _load(bench: Bench, run: Run) -> Iterator[Background]:
    """All dirty data is written before, so that nobody pays for what another left."""
    settle(bench.server)
    os.sync()
    with Background(bench.server, run.directory, by_sysbench=bench.by_sysbench) as load:
        yield load

"""What goes on in the database while a contender works: the writers whose waits are measured, and a light load.

The light load is sysbench's read-write transactions by one thread at a fixed rate, on a small table of its own; without
sysbench the writers play one like it. The share of its transactions that got through is what the backup left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.fill import LOAD, LOAD_ROWS, sysbench
from bench.server import transactions
from tests.servers.mariadb import PrivateMariaDB

RATE = 40
"""Transactions a second, of 20 statements each: a fraction of what one thread could do."""
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Felt:
    """What the database's users felt between `begin` and `end`. Milliseconds are of the longest single insert."""

    innodb_ms: float
    innodb_p99_ms: float
    myisam_ms: float
    myisam_p99_ms: float
    tps: float


class Background:
    """Works while its context is open; counts from `begin` to `end`, which may be called once."""

    def __init__(self, server: PrivateMariaDB, directory: Path, *, by_sysbench: bool) -> None:
        self._server = server
        self._directory = directory
        self._by_sysbench = by_sysbench
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            rate = [] if self._by_sysbench else ["--load-rate", str(RATE)]
            script = Path(__file__).with_name("writers.py")
            self._writers = subprocess.Popen(
                [sys.executable, str(script), str(self._server.socket), *rate],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, self._writers)
            if self._by_sysbench:
                self._load = self._start_sysbench(stack)
            if self._line() != "ready":
                raise RuntimeError("the writers did not get to work")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        self._say("begin")
        self._began = (time.monotonic(), transactions(self._server))

    def end(self) -> Felt:
        """Raises RuntimeError when a writer or the load failed meanwhile."""
        began, before = self._began
        tps = (transactions(self._server) - before) / (time.monotonic() - began)
        self._say("end")
        if self._by_sysbench and self._load.poll() is not None:
            raise RuntimeError(f"sysbench ended with {self._load.returncode}; see {self._directory / 'sysbench.log'}")
        seen = json.loads(self._line() or "null")
        if seen is None:
            raise RuntimeError("the writers ended early; their standard error says why")
        innodb, myisam = seen["innodb"], seen["myisam"]
        return Felt(innodb["longest_ms"], innodb["p99_ms"], myisam["longest_ms"], myisam["p99_ms"], tps)

    def _start_sysbench(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        log = stack.enter_context((self._directory / "sysbench.log").open("wb"))
        options = ["--tables=1", f"--table-size={LOAD_ROWS}", "--threads=1", f"--rate={RATE}", "--time=0", "--events=0"]
        load = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *sysbench(self._server, LOAD, *options), "run"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        stack.callback(_end, load)
        return load

    def _say(self, word: str) -> None:
        if self._writers.stdin is None:
            raise RuntimeError("the writers have no standard input")
        self._writers.stdin.write(f"{word}\n")
        self._writers.stdin.flush()

    def _line(self) -> str:
        if self._writers.stdout is None:
            raise RuntimeError("the writers have no standard output")
        return self._writers.stdout.readline().strip()


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """By its standard input where it listens to that, by force where it does not. Reaps it."""
    if process.stdin is not None:
        process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

"""The writers whose waits are the stalls of a backup. Started by path, as a script of its own process.

One thread inserts into an InnoDB table, one into a MyISAM table, each on its own connection, with a pause between
inserts; a third, when asked for, plays a light transactional load. Says `ready` when all of them work; counts from the
first line on its standard input to the second (or its end), and then prints what it saw as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pymysql

PAUSE_SECONDS = 0.005
_WARM = 20
"""Inserts of each writer before it counts as working."""
_READY_SECONDS = 60.0


@dataclass
class Writer:
    """One loop of statements; `spans` are the begin and end of each round."""

    statements: tuple[str, ...]
    pause: float
    spans: list[tuple[float, float]] = field(default_factory=list)
    warm: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None

    def work(self, socket: str, stop: threading.Event) -> None:
        try:
            self._work(socket, stop)
        except Exception as error:  # noqa: BLE001 - it is told by the main thread, which waits for this one
            self.failure = error
            self.warm.set()

    def _work(self, socket: str, stop: threading.Event) -> None:
        connection: pymysql.connections.Connection[Any] = pymysql.connect(
            unix_socket=socket, user="root", autocommit=True, read_timeout=600
        )
        with connection, connection.cursor() as cursor:
            while not stop.is_set():
                begin = time.monotonic()
                for statement in self.statements:
                    cursor.execute(statement)
                self.spans.append((begin, time.monotonic()))
                if len(self.spans) == _WARM:
                    self.warm.set()
                stop.wait(self.pause)

    def seen(self, begin: float, end: float) -> dict[str, float]:
        """Of the rounds that overlap the time from `begin` to `end`."""
        waits = sorted(after - before for before, after in self.spans if after > begin and before < end)
        if not waits:
            raise RuntimeError("a writer finished nothing while the command ran")
        return {
            "count": len(waits),
            "longest_ms": waits[-1] * 1000,
            "p99_ms": waits[len(waits) * 99 // 100] * 1000,
        }


def writers(load_rate: float) -> dict[str, Writer]:
    loops = {
        engine: Writer((f"INSERT INTO bench_load.ticks_{engine} (at) VALUES (NOW(6))",), PAUSE_SECONDS)
        for engine in ("innodb", "myisam")
    }
    if load_rate:
        key = "1 + FLOOR(RAND() * 10000)"
        loops["load"] = Writer(
            (
                "BEGIN",
                *[f"SELECT c FROM bench_load.sbtest1 WHERE id = {key}"] * 10,
                f"UPDATE bench_load.sbtest1 SET k = k + 1 WHERE id = {key} LIMIT 1",
                f"UPDATE bench_load.sbtest1 SET c = REVERSE(c) WHERE id = {key} LIMIT 1",
                "COMMIT",
            ),
            1 / load_rate,
        )
    return loops


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("--load-rate", type=float, default=0, help="transactions a second; 0 plays none")
    options = parser.parse_args()
    loops = writers(options.load_rate)
    stop = threading.Event()
    threads = [threading.Thread(target=loop.work, args=(options.socket, stop)) for loop in loops.values()]
    for thread in threads:
        thread.start()
    try:
        ready = all(loop.warm.wait(_READY_SECONDS) for loop in loops.values())
        print("ready" if ready else "not ready", flush=True)
        sys.stdin.readline()
        begin = time.monotonic()
        sys.stdin.readline()
        end = time.monotonic()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for loop in loops.values():
        if loop.failure is not None:
            raise loop.failure
    print(json.dumps({name: loop.seen(begin, end) for name, loop in loops.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

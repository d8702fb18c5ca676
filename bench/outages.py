"""The outage phase: the store goes away in the middle of a backup and comes back; the database must not notice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from bench.contenders import BrokenError, Run, Stores
from bench.fill import INNODB
from bench.measure import Measured, measure
from bench.ours import Agent, command, result
from bench.phases import Bench, measure_idle, raw_bytes, take_one, tell
from bench.server import serve
from bench.stores import broken_line

OUTAGE_SECONDS = 60
_AFTER_SHARE = 0.1
"""It begins when so many bytes have gone to the store, as a share of the data: sealed, these are about a quarter."""


@dataclass(frozen=True, slots=True)
class _Restored(Agent):
    """backup-agent, whose backup counts when it was restored and a server answers from it."""

    data: int = 0
    """Bytes in the database."""

    def check(self, run: Run, measured: Measured) -> None:
        backup_id = result(measured)["backup"]["id"]
        base = run.directory / "restored"
        base.mkdir()
        target = base / "data"
        config = run.directory / "backup-agent.toml"
        result(measure(command(config, "restore", backup_id, "--target-dir", str(target)), base))
        with serve(base / "server", self.data, target) as server:
            (row,) = server.query(f"CHECK TABLE {INNODB}.sbtest1")
        shutil.rmtree(base)
        if row[-1] != "OK":
            raise BrokenError(f"what was restored is not sound: {row}")


def outage(bench: Bench) -> None:
    agent = _Restored(data=bench.total)
    if bench.fast.s3 is None:
        bench.omit("outage", agent.key, bench.absent.get("s3", "there is no store to take away"), broken=False)
        return
    if not bench.present("outage", [agent]):
        return
    raw = raw_bytes(bench, bench.fast, None)
    for number in range(1, bench.rounds + 1):
        tell(phase="outage", round=number)
        measure_idle(bench, "outage")
        after = int(_AFTER_SHARE * bench.total)
        with (
            broken_line(bench.fast.s3.url, after, OUTAGE_SECONDS) as url,
            bench.run(Stores(s3=type(bench.fast.s3)(url))) as run,
        ):
            try:
                bench.keep(take_one(bench, "outage", agent, run, raw))
            except (BrokenError, TimeoutError) as error:
                bench.omit("outage", agent.key, str(error), broken=True)
                return

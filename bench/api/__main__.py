"""`python -m bench.api`: the control plane beside a simulated fleet, on each database. Exit status 0 when it worked.

Whether targets were met is in the report alone: a busy machine misses them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.api.fleet import Fleet
from bench.api.measuring import Bench, Sizes, measure
from bench.api.report import write
from bench.phases import tell
from bench.tools import ROOT
from tests.servers.postgresql import PrivatePostgreSQL
from tests.servers.rabbitmq import PrivateRabbitMQ

_DATABASES = ("sqlite", "postgresql")
_WAITING_SHARE = 0.3
"""Of the agents: those that carry out users' commands."""
_DURABLE = {"fsync": "on", "shared_buffers": "128MB"}
"""As PostgreSQL's own defaults have it; the tests' servers are hasty."""
_LASTING = "[]"
"""advanced.config: the broker's quorum queues wait for fsync, as they do by default."""


def main(arguments: Sequence[str] | None = None, broker: PrivateRabbitMQ | None = None) -> int:
    """`broker`: one that runs already, instead of one of its own."""
    options = _options(arguments)
    load_before = os.getloadavg()[0]
    base = Path(tempfile.mkdtemp(prefix="backup-api-bench-", dir=options.directory))
    try:
        with ExitStack() as stack:
            bench = _set_up(options, base, stack, broker)
            measured = []
            for name in options.databases:
                with _database(name, base) as url:
                    measured.append(measure(bench, name, url))
            text = write(measured, bench, Path(options.out), load_before=load_before)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(base)
    print(text)
    return 0


def _set_up(options: argparse.Namespace, base: Path, stack: ExitStack, broker: PrivateRabbitMQ | None) -> Bench:
    tell(doing="set up", agents=options.agents, directory=str(base))
    broker = broker or stack.enter_context(PrivateRabbitMQ(base / "broker", advanced=_LASTING))
    instance_ids = [str(uuid.uuid4()) for _ in range(options.agents)]
    waiting = instance_ids[: max(1, int(options.agents * _WAITING_SHARE))]
    fleet = stack.enter_context(Fleet(broker, instance_ids, waiting))
    sizes = Sizes(options.few, options.backups, options.rate, options.seconds, options.backlog)
    return Bench(base, broker, fleet, instance_ids, waiting, sizes)


@contextmanager
def _database(name: str, base: Path) -> Iterator[str]:
    """The URL of an empty one."""
    if name == "sqlite":
        yield f"sqlite:///{base / 'catalogue.db'}"
        return
    with PrivatePostgreSQL(_DURABLE) as server:
        yield server.url


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.api", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000, help="simulated (default: 1000)")
    parser.add_argument("--few", type=int, default=1000, help="backups in a small catalogue (default: 1000)")
    parser.add_argument("--backups", type=int, default=50_000, help="and in a full one (default: 50000)")
    parser.add_argument("--rate", type=float, default=1000, help="events a second beside users (default: 1000)")
    parser.add_argument("--seconds", type=float, default=30, help="of each look at the users (default: 30)")
    parser.add_argument("--backlog", type=int, default=30_000, help="events taken in at once (default: 30000)")
    parser.add_argument("--databases", type=_some, default=list(_DATABASES), help=f"of {', '.join(_DATABASES)}")
    parser.add_argument("--directory", help="where everything is kept while it runs (default: the system's)")
    parser.add_argument("--out", default=str(ROOT / "docs" / "benchmarks"), help="where api.md and api.json go")
    return parser.parse_args(arguments)


def _some(text: str) -> list[str]:
    chosen = [word for word in text.split(",") if word]
    if unknown := set(chosen) - set(_DATABASES):
        raise argparse.ArgumentTypeError(f"no such database: {', '.join(sorted(unknown))}")
    return chosen


def _interrupted(number: int, _frame: object) -> None:
    """Told to stop: ends like Ctrl-C, so that everything is stopped and removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, _interrupted)
    sys.exit(main())

"""`python -m bench`: exit status 0 when every contender worked and every restore served the right rows."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import idling, outages, phases, restoring
from bench.contenders import PIPELINES, BrokenError, Stores
from bench.fill import fillers
from bench.ours import ENCRYPTED, Agent
from bench.phases import Bench, tell
from bench.report import write
from bench.results import IDLE, PHASES, Phase
from bench.server import MB, fill, serve
from bench.stores import directory_in_memory, s3_server, slow_line, swift_server
from bench.tools import ROOT, find, why_missing

SLOW_BYTES_PER_SECOND = 30 * MB
_SPACE = 5
"""Times the data: the server's, what a store holds, and what is restored."""
_CARRIED_OUT: dict[Phase, Callable[[Bench], None]] = {
    "full": phases.full,
    "slow": phases.slow,
    "outage": outages.outage,
    "restore": restoring.restore,
    "idle": idling.idle,
    "incremental": phases.incremental,
}
"""In this order: the incrementals change rows that a restore must bring back."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupted)
    base = Path(tempfile.mkdtemp(prefix="backup-agent-bench-", dir=options.directory))
    try:
        with ExitStack() as stack:
            bench = _set_up(options, base, stack)
            for phase in (name for name in _CARRIED_OUT if name in options.only):
                _carry_out(bench, phase)
        text = write(
            bench, Path(options.out), filled_by=options.fill, slow_rate=SLOW_BYTES_PER_SECOND, draw=options.plots
        )
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(base)
    print(text)
    broken = [omission for omission in bench.omissions if omission.broken]
    for omission in broken:
        sys.stderr.write(f"{omission.phase}: {omission.contender}: {omission.reason}\n")
    return 1 if broken else 0


def _carry_out(bench: Bench, phase: Phase) -> None:
    """What breaks before its turns, such as the full backup that an incremental needs, ends the phase alone."""
    try:
        _CARRIED_OUT[phase](bench)
    except (BrokenError, TimeoutError) as error:
        bench.omit(phase, "all", str(error), broken=True)


def _set_up(options: argparse.Namespace, base: Path, stack: ExitStack) -> Bench:
    total, load_before = options.size_mb * MB, os.getloadavg()[0]
    free = shutil.disk_usage(base).free
    if free < _SPACE * total:
        raise SystemExit(f"{base} has room for {free // MB} MB; this needs {_SPACE * options.size_mb}: see --directory")
    tell(doing="fill", megabytes=options.size_mb, by=options.fill, directory=str(base))
    fill(base / "filled", total, fillers()[options.fill])
    server = stack.enter_context(serve(base / "server", total, base / "filled" / "data"))
    in_memory = None if options.directory else directory_in_memory(total)
    fast, slow, absent = _stores(options.stores, base, in_memory or base, stack)
    return Bench(
        base,
        server,
        fast,
        slow,
        total,
        options.rounds,
        frozenset(options.contenders),
        by_sysbench=options.fill == "sysbench",
        idle_s=options.idle_s,
        daemon_s=options.daemon_s,
        load_before=load_before,
        absent=absent,
        store_in_memory=in_memory is not None,
    )


def _stores(wanted: Sequence[str], base: Path, for_s3: Path, stack: ExitStack) -> tuple[Stores, Stores, dict[str, str]]:
    """Those that can be had here, the slow ways to them, and why the others can't. S3's files are below `for_s3`."""
    absent: dict[str, str] = {}
    s3 = slow_s3 = swift = slow_swift = None
    if "s3" not in wanted:
        absent["s3"] = "no S3 store was asked for"
    elif find("juicefs") is None:
        absent["s3"] = f"there is no S3 store: {why_missing('juicefs')}"
    else:
        files = stack.enter_context(tempfile.TemporaryDirectory(prefix="backup-agent-bench-", dir=for_s3))
        s3 = stack.enter_context(s3_server(Path(files) / "s3"))
        slow_s3 = type(s3)(stack.enter_context(slow_line(s3.url, SLOW_BYTES_PER_SECOND)))
    if "swift" not in wanted:
        absent["swift"] = "no Swift store was asked for"
    elif find("swift-proxy-server") is None:
        absent["swift"] = f"there is no Swift store: {why_missing('swift-proxy-server')}"
    else:
        swift = stack.enter_context(swift_server(base / "swift"))
        slow_swift = type(swift)(stack.enter_context(slow_line(swift.url, SLOW_BYTES_PER_SECOND)))
    return Stores(s3, swift), Stores(slow_s3, slow_swift), absent


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    keys = [contender.key for contender in (*PIPELINES, Agent(), ENCRYPTED)]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--size-mb", type=int, default=4096, help="of data, in MB (default: 4096)")
    parser.add_argument("--rounds", type=int, default=3, help="of all contenders (default: 3)")
    parser.add_argument("--contenders", type=_some_of(keys), default=[], help=f"of {', '.join(keys)} (default: all)")
    parser.add_argument("--only", type=_some_of(PHASES), default=list(PHASES), help=f"of {', '.join(PHASES)}")
    parser.add_argument("--stores", type=_some_of(("s3", "swift")), default=["s3", "swift"], help="of s3, swift, none")
    parser.add_argument("--fill", choices=list(fillers()), default=next(iter(fillers())), help="who makes the data")
    parser.add_argument("--idle-s", type=float, default=10, help="seconds of each look at the server without a backup")
    parser.add_argument("--daemon-s", type=float, default=60, help="to watch the idle daemon (default: 60)")
    parser.add_argument(
        "--directory",
        help="where everything is kept while it runs (default: the system's, and memory for the S3 store's files)",
    )
    parser.add_argument("--plots", action=argparse.BooleanOptionalAction, default=True, help="draw pictures")
    parser.add_argument("--out", default=str(ROOT / "docs" / "benchmarks"), help="where the report goes")
    return parser.parse_args(arguments)


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A comma-separated choice; empty is everything, `none` nothing."""

    def parse(text: str) -> list[str]:
        chosen = [] if text == "none" else [word for word in text.split(",") if word] or list(known)
        if unknown := set(chosen) - {*known, IDLE}:
            raise argparse.ArgumentTypeError(
                f"no such thing: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        return chosen

    return parse


def _interrupted(number: int, _frame: object) -> None:
    """Told to stop: ends like Ctrl-C, so that everything is stopped and removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())

"""Measures one command: seconds, CPU seconds and peak memory of its whole process tree.

CPU comes from `wait4` by the reaper, so that processes too short to be seen are counted; memory is the sum of the
processes' proportional set sizes (PSS), sampled, so that a peak shorter than the interval can be missed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.reaper import descendants

SAMPLE_SECONDS = 0.2
_FIRST_SAMPLE_SECONDS = 0.02
"""A short command is looked at more often; each look then waits a little longer for the next."""
_STOP_SECONDS = 30.0
_OTHERS_VARIABLES = ("AWS_", "BACKUP_AGENT_", "GZIP", "OS_", "RCLONE_", "RESTIC_", "ST_", "SWIFT_", "ZSTD_")


@dataclass(frozen=True, slots=True)
class Measured:
    """How a command ended. `begin` and `end` are of the monotonic clock, which all processes share."""

    status: int
    begin: float
    end: float
    cpu_s: float
    rest_cpu_s: float
    """Of everything else on the machine meanwhile."""
    peak_bytes: int
    stdout: str
    stderr: str

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def clean_environment() -> dict[str, str]:
    """Ours, without what would change a contender behind its command line's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS_VARIABLES)}


def measure(
    command: Sequence[str], directory: Path, *, environment: Mapping[str, str] | None = None, limit_s: float = 7200
) -> Measured:
    """Runs `command`; what it says goes to files in `directory`, which must exist.

    Raises TimeoutError after `limit_s` seconds. Nothing of the command is left, however this ends.
    """
    report, out, err = (directory / name for name in ("measured.json", "stdout", "stderr"))
    report.unlink(missing_ok=True)
    before = _busy_seconds()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        reaper = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reaper.py")), str(report), *command],
            stdout=stdout,
            stderr=stderr,
            env={**clean_environment(), **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the benchmark, which then stops all in order
        )
        try:
            peak = _watch(reaper, limit_s)
        finally:
            _stop(reaper)
        busy = _busy_seconds() - before
    if not report.exists():
        raise RuntimeError(
            f"the measuring process ended with {reaper.returncode}:\n{err.read_text('utf-8', 'replace')}"
        )
    told = json.loads(report.read_text())
    cpu_s = told["user_s"] + told["system_s"]
    return Measured(
        told["status"],
        told["begin"],
        told["end"],
        cpu_s,
        max(0.0, busy - cpu_s),
        peak,
        out.read_text("utf-8", "replace"),
        err.read_text("utf-8", "replace"),
    )


def _watch(reaper: subprocess.Popen[bytes], limit_s: float) -> int:
    """Until it ends; the largest sum of PSS, in bytes."""
    deadline = time.monotonic() + limit_s
    peak, pause = 0, _FIRST_SAMPLE_SECONDS
    while reaper.poll() is None:
        peak = max(peak, sum(map(_pss, descendants(reaper.pid))))
        if time.monotonic() > deadline:
            raise TimeoutError(f"the command has not ended within {limit_s:.0f} s")
        try:
            reaper.wait(pause)
        except subprocess.TimeoutExpired:
            pause = min(SAMPLE_SECONDS, pause * 1.1)
    return peak


def _busy_seconds() -> float:
    """CPU that all processes have used since the machine started; a guest's time is in its host's."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _pss(pid: int) -> int:
    """In bytes; 0 for a process that ended meanwhile."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _stop(reaper: subprocess.Popen[bytes]) -> None:
    if reaper.poll() is None:
        reaper.send_signal(signal.SIGTERM)
        reaper.wait(_STOP_SECONDS)

"""What the figures were measured on: the machine, and the version of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.tools import find, python_of

_VERSION_OF = {
    "mariadbd": ["--version"],
    "mariadb-backup": ["--version"],
    "zstd": ["--version"],
    "age": ["--version"],
    "gzip": ["--version"],
    "aws": ["--version"],
    "rclone": ["version"],
    "restic": ["version"],
    "swift": ["--version"],
    "juicefs": ["--version"],
    "sysbench": ["--version"],
}
_DISTRIBUTIONS = ("boto3", "zstandard")


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def describe(load_before: float) -> dict[str, str]:
    """For people. `load_before` is the load average before the benchmark: it tells whether others worked, too."""
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.1f} GiB",
        "kernel": platform.release(),
        "load before": f"{load_before:.1f}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def versions() -> dict[str, str]:
    """Of each program that was found, the first line it says that holds a version."""
    found = {"python": platform.python_version(), "backup-agent": own_version()}
    found |= {name: version(name) for name in _DISTRIBUTIONS}
    for program, arguments in _VERSION_OF.items():
        if (path := find(program)) is not None:
            found[program] = _first_version([path, *arguments])
    if (python := python_of("swift")) is not None:
        code = "from importlib.metadata import version; print(version('swift'))"
        found["swift server"] = _first_version([python, "-c", code])
    return found


def own_version() -> str:
    """With the commit, and a `+` when the tree differs from it."""
    root = Path(__file__).parents[1]
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )
    return f"{version('backup-agent')} {told.stdout.strip()}".strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    match = re.search(r"\d+\.\d+[^\s,;)]*", done.stdout + done.stderr)
    return match.group().removesuffix("-MariaDB-log") if match else "unknown"

"""Processes by number and start: whether the one that did something still lives, and its end."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from backup_agent.domain.process import ProcessId

_GONE_WITHIN = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START = 19
"""Of the fields in /proc/PID/stat behind the name, which may hold anything: see proc_pid_stat(5), field 22."""


@cache
def this_process() -> ProcessId:
    found = process_id(os.getpid())
    if found is None:
        msg = "/proc does not show this process"
        raise RuntimeError(msg)
    return found


def process_id(pid: int) -> ProcessId | None:
    """None when there is none of that number (any more), or it has ended and is only not waited for yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return ProcessId(pid=pid, started=f"{_boot()}/{fields[_START]}")


def lives(process: ProcessId) -> bool:
    """Whether that very process, not a later one with its number, is there."""
    return process_id(process.pid) == process


def end(process: ProcessId) -> bool:
    """Kills that very process and waits for its end; False when it had ended before."""
    if not lives(process):
        return False
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        found.kill()
        found.wait(_GONE_WITHIN)
    return True


@cache
def namespace() -> str:
    """Where this process has its number: the boot of the host, and the namespace of process ids."""
    return f"{_boot()}/{Path('/proc/self/ns/pid').readlink()}"


@cache
def _boot() -> str:
    return _BOOT_ID.read_text("ascii").strip()

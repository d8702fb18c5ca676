"""Processes by number and start: whether the one that did something still lives, and its end."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

import psutil

from backup_agent.domain.process import ProcessId

_CLOCK_SLACK_SECONDS = 2.0
"""A process' start time shifts a little when the clock is set."""
_GONE_WITHIN = 10.0


@cache
def this_process() -> ProcessId:
    """Asked once, because a start time shifts with the clock."""
    return ProcessId(pid=os.getpid(), started=psutil.Process().create_time())


def process_id(pid: int) -> ProcessId | None:
    """None when there is none of that number (any more)."""
    try:
        return ProcessId(pid=pid, started=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def lives(process: ProcessId) -> bool:
    """Whether that very process, not a later one with its number, is there; true when that can't be seen."""
    try:
        found = psutil.Process(process.pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        started = found.create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return abs(started - process.started) < _CLOCK_SLACK_SECONDS


def end(process: ProcessId) -> bool:
    """Kills that very process and waits for its end; False when it had ended before."""
    if not lives(process):
        return False
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        found.kill()
        found.wait(_GONE_WITHIN)
    return True

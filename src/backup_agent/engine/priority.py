"""The engine's CPU and I/O priority: low while it copies, as it was born while tables are locked.

An engine of low priority on a busy host would hold its locks for longer: the writers who wait for it would wait for
all others, too. Who may not raise a priority again (no CAP_SYS_NICE, no RLIMIT_NICE) does not lower the CPU's at all.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import structlog

log = structlog.get_logger(__name__)

_CAP_SYS_NICE = 23


@dataclass(frozen=True, slots=True)
class Priority:
    """`niceness` from 0 to 19; `ionice` as in the configuration."""

    niceness: int
    ionice: Literal["idle", "best-effort", "none"]

    def lower(self, pid: int) -> None:
        """For a process just started. A kernel that refuses costs no more than that."""
        born = os.getpriority(os.PRIO_PROCESS, 0)
        if self.niceness > born and _may_return_to(born):
            _set_cpu(pid, self.niceness)
        if self.ionice == "idle":
            _set_io(pid, psutil.IOPRIO_CLASS_IDLE, 0)
        elif self.ionice == "best-effort":
            _set_io(pid, psutil.IOPRIO_CLASS_BE, 7)

    def lower_this_thread(self) -> None:
        """For good, with all threads and processes it will start: for work that nobody waits for."""
        thread = threading.get_native_id()
        if self.niceness > os.getpriority(os.PRIO_PROCESS, 0):
            _set_cpu(thread, self.niceness)
        if self.ionice == "idle":
            _set_io(thread, psutil.IOPRIO_CLASS_IDLE, 0)
        elif self.ionice == "best-effort":
            _set_io(thread, psutil.IOPRIO_CLASS_BE, 7)

    def restore(self, pid: int) -> None:
        """Gives every thread of the process the priority that `lower` took."""
        born = os.getpriority(os.PRIO_PROCESS, 0)
        for thread in _threads(pid):
            if self.niceness > born and _may_return_to(born):
                _set_cpu(thread, born)
            if self.ionice != "none":
                _set_io(thread, psutil.IOPRIO_CLASS_NONE, 0)


def _threads(pid: int) -> Iterator[int]:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        yield from (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())


def _set_cpu(thread: int, niceness: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    except ProcessLookupError:
        return
    except OSError as error:
        log.warning("can't change the engine's CPU priority", reason=str(error))


def _set_io(thread: int, io_class: int, level: int) -> None:
    try:
        psutil.Process(thread).ionice(io_class, level)
    except psutil.NoSuchProcess:
        return
    except (psutil.AccessDenied, OSError) as error:
        log.warning("can't change the engine's I/O priority", reason=str(error))


def _may_return_to(niceness: int) -> bool:
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if soft == resource.RLIM_INFINITY or 20 - soft <= niceness:
        return True
    status = Path("/proc/self/status").read_text("utf-8")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_NICE & 1)

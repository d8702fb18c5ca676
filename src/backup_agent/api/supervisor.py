"""A process that starts others and looks after them: one that dies is started again, and all end together.

They are forked before anything has threads. The kernel ends them when this process is killed.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

import structlog

from backup_agent.errors import BackupAgentError, ErrorCode

log = structlog.get_logger(__name__)

_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 1.0
_QUICK_S = 10.0
"""One that has lived for less has died of what it will die of again."""
_QUICK_DEATHS = 5
_GRACE_S = 3.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class Child:
    name: str
    run: Callable[[], None]
    """In a process of its own, until SIGTERM."""
    process: BaseProcess | None = None
    started: float = 0.0
    quick_deaths: int = 0
    not_before: float = field(default=0.0)


def supervise(
    children: Sequence[Child], *, on_ready: Callable[[], None], on_stop: Callable[[], None], within: float
) -> None:
    """Returns when all have ended after a SIGTERM, SIGINT or SIGHUP, at the latest `within` seconds (and a few) after
    it. Raises BackupAgentError (`internal`) when one can't be kept alive. For a main thread, and no other threads.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    parent = os.getpid()
    try:
        for child in children:
            _start(child, parent)
        on_ready()
        while not _told_to_stop():
            _revive(children, parent)
    finally:
        on_stop()
        _end(children, within)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _told_to_stop() -> bool:
    """Waits for a signal, a second at most."""
    received = signal.sigtimedwait(_SIGNALS, _LOOK_EVERY)
    return received is not None and received.si_signo != signal.SIGCHLD


def _start(child: Child, parent: int) -> None:
    child.process = _FORK.Process(target=_begin, args=(child, parent), name=child.name)
    child.started = time.monotonic()
    child.process.start()


def _begin(child: Child, parent: int) -> None:
    """The first thing that the new process does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        child.run()
    except BackupAgentError as error:
        log.error(error.message, code=error.code.value, hint=error.hint, process=child.name)  # noqa: TRY400 - it says what to do
        sys.exit(error.exit_status)
    except Exception:
        log.exception("a process of the API failed", process=child.name, code=ErrorCode.INTERNAL.value)
        sys.exit(1)


def _revive(children: Sequence[Child], parent: int) -> None:
    for child in children:
        if child.process is not None and not child.process.is_alive():
            _bury(child)
        if child.process is None and time.monotonic() >= child.not_before:
            _start(child, parent)


def _bury(child: Child) -> None:
    status = child.process.exitcode if child.process is not None else None
    child.process = None
    quick = time.monotonic() - child.started < _QUICK_S
    child.quick_deaths = child.quick_deaths + 1 if quick else 1
    log.error("a process of the API has died", process=child.name, status=status)
    if child.quick_deaths >= _QUICK_DEATHS:
        raise BackupAgentError(
            ErrorCode.INTERNAL,
            f"{child.name} died {_QUICK_DEATHS} times in a row, the last time with status {status}",
            "The log says why, just before.",
        )
    child.not_before = time.monotonic() + (2.0 ** (child.quick_deaths - 1) - 1) / 2


def _end(children: Sequence[Child], within: float) -> None:
    alive = [child.process for child in children if child.process is not None and child.process.is_alive()]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + within + _GRACE_S
    for process in alive:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            log.warning("a process of the API does not end; it is killed", process=process.name)
            process.kill()
            process.join()

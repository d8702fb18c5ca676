"""The life of the daemon: it begins, looks after its threads, does what signals ask for, and ends in good order.

    worker:    recovers, then carries out what waits
    inbox:     takes commands over, once the worker has recovered
    publisher: tells events, from the beginning

Ready means that the journal is open and that it is known what earlier processes have left. A broker that is away is a
matter for the status line; a thread that stands still is one for systemd's watchdog, which then is not fed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from backup_agent.errors import BackupAgentError
from backup_agent.operations.services import BackupServices
from backup_agent.service.worker import Worker
from backup_agent.systemd import Notifier

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
"""Seconds between two looks at the threads, and two signs of life for the watchdog."""
_FLUSH_SECONDS = 5.0
"""How long the last events may take to be told when the agent stops; what is left is told at the next start."""
_STILL_AT_IT = 60.0
"""Seconds that systemd is asked for, again and again, as long as a backup is being finished or cleaned up."""
_GIVE_UP_AFTER = 10.0
"""Seconds for a hurried worker to end."""


class Line(Protocol):
    """A connection to the broker, in a thread of its own."""

    def run(self) -> None: ...

    @property
    def connected(self) -> bool: ...

    @property
    def alive_at(self) -> float: ...

    @property
    def trouble(self) -> str | None: ...


class Inbox(Line, Protocol):
    def stop(self) -> None: ...


class Publisher(Line, Protocol):
    def stop(self, flush_within: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds."""

    on_stop: Literal["cancel", "finish"]
    stop_within: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What a configuration makes of the daemon."""

    services: BackupServices
    settings: Settings
    inbox: Inbox
    publisher: Publisher


class Daemon:
    """`run` is for the main thread, everything else may be called from any."""

    def __init__(
        self,
        parts: Parts,
        worker: Worker,
        systemd: Notifier,
        *,
        reload: Callable[[], Parts],
        describe: Callable[[], str],
    ) -> None:
        """`reload` reads the configuration anew; the inbox and the publisher it gives may be those there are.

        `describe` says what the worker does.
        """
        self._parts = parts
        self._worker = worker
        self._systemd = systemd
        self._load = reload
        self._describe = describe
        self._wake = threading.Event()
        self._told = ""
        self._stops = 0
        self._reloads = 0
        self._failure: BaseException | None = None
        self._threads: dict[str, threading.Thread] = {}

    def stop(self) -> None:
        """As SIGTERM asks: the first call ends the agent, each further one makes it more urgent."""
        self._stops += 1
        self._wake.set()

    def reload(self) -> None:
        """As SIGHUP asks."""
        self._reloads += 1
        self._wake.set()

    def run(self) -> None:
        """Returns when stopped. Raises what ended one of the threads."""
        self._start("publisher", self._parts.publisher.run)
        self._start("worker", self._worker.run)
        try:
            self._await(self._worker.looked, starting=True)
            if not self._is_to_end():
                self._systemd.ready(self._status())
            self._await(self._worker.recovered)
            if not self._is_to_end():
                self._start("inbox", self._parts.inbox.run)
                log.info("the agent is ready")
            while not self._is_to_end():
                self._look()
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure

    def _is_to_end(self) -> bool:
        return self._stops > 0 or self._failure is not None

    def _await(self, event: threading.Event, *, starting: bool = False) -> None:
        while not event.is_set() and not self._is_to_end():
            self._look()
            if starting and self._all_alive():  # an interrupted backup may have left many objects to remove
                self._systemd.needs_longer(_STILL_AT_IT)

    def _look(self) -> None:
        """Waits a moment, and looks after everything once."""
        self._wake.wait(_LOOK_EVERY)
        self._wake.clear()
        if self._reloads:
            self._reloads = 0
            self._reload()
        self._tell_status(self._status())
        if self._all_alive():
            self._systemd.alive()

    def _all_alive(self) -> bool:
        limit = time.monotonic() - (self._systemd.watchdog_s or float("inf")) / 2
        watched: dict[str, Line | Worker] = {
            "worker": self._worker,
            "inbox": self._parts.inbox,
            "publisher": self._parts.publisher,
        }
        running = [name for name, thread in self._threads.items() if thread.is_alive()]
        return all(part.alive_at >= limit for name, part in watched.items() if name in running)

    def _status(self) -> str:
        troubles = {self._worker.trouble, self._parts.inbox.trouble, self._parts.publisher.trouble} - {None}
        return "; ".join([self._describe(), *sorted(map(str, troubles))])

    def _reload(self) -> None:
        self._systemd.reloading()
        try:
            parts = self._load()
        except BackupAgentError as error:
            log.error(  # noqa: TRY400 - the message says it all
                "the configuration is not reloaded, the old one stays",
                code=error.code,
                reason=error.message,
                hint=error.hint,
            )
        else:
            self._exchange(parts)
            log.info("the configuration is reloaded; a running backup goes on with the old one")
        self._systemd.ready(self._status())

    def _tell_status(self, status: str) -> None:
        if status != self._told:
            self._told = status
            self._systemd.status(status)

    def _exchange(self, parts: Parts) -> None:
        before, self._parts = self._parts, parts
        self._worker.use(parts.services)
        if parts.publisher is not before.publisher:
            before.publisher.stop(0)
            self._join("publisher", _FLUSH_SECONDS)
            self._start("publisher", parts.publisher.run)
        if parts.inbox is not before.inbox and "inbox" in self._threads:
            before.inbox.stop()
            self._join("inbox", _FLUSH_SECONDS)
            self._start("inbox", parts.inbox.run)

    def _start(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the agent with it
                self._failure = self._failure or error
                self._wake.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _join(self, name: str, seconds: float) -> bool:
        """Whether that thread has ended."""
        thread = self._threads.get(name)
        if thread is None:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    def _end(self) -> None:
        """No new commands, then no backup, then the last events."""
        self._systemd.stopping(f"stopping: {self._describe()}")
        with ExitStack() as stack:
            stack.callback(self._parts.publisher.stop, _FLUSH_SECONDS)
            self._parts.inbox.stop()
            self._end_worker()
        self._join("inbox", _GIVE_UP_AFTER)
        self._join("publisher", _FLUSH_SECONDS + 1)

    def _end_worker(self) -> None:
        cancel = self._parts.settings.on_stop == "cancel" or self._failure is not None
        self._worker.stop(cancel=cancel)
        deadline = time.monotonic() + self._parts.settings.stop_within if cancel else None
        urgency = 1
        while not self._join("worker", _LOOK_EVERY):
            self._tell_status(f"stopping: {self._describe()}")
            self._systemd.alive()
            if self._all_alive():
                self._systemd.needs_longer(_STILL_AT_IT)
            if self._stops > urgency and not cancel:
                urgency, cancel = self._stops, True
                self._worker.stop(cancel=True)
                deadline = time.monotonic() + self._parts.settings.stop_within
            elif self._stops > urgency or (deadline is not None and time.monotonic() > deadline):
                self._worker.hurry()
                if not self._join("worker", _GIVE_UP_AFTER):
                    log.error("the running backup does not end; the next start cleans up after it")
                return

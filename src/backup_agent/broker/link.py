"""A connection that is there whenever it can be: made again for as long as it is wanted.

What it does not do: know what the connection is for (see `Work`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import structlog

from backup_agent.broker import failures
from backup_agent.broker.backoff import Backoff
from backup_agent.broker.connection import silence_pika
from backup_agent.broker.endpoint import Endpoint, endpoints
from backup_agent.broker.session import Session, Work
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import Topology
from backup_agent.errors import BrokerError, ErrorCode

log = structlog.get_logger(__name__)

_HELD_S = 5.0
"""A connection lost sooner was none: the next pause is longer than the one before it."""
_BEAT_EVERY = 1.0


class Link:
    """`run` in a thread of its own; everything else from any thread."""

    def __init__(
        self,
        settings: BrokerSettings,
        topology: Topology,
        work: Work,
        *,
        name: str,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        """Raises ConfigError (`config_invalid`) for URLs that can't be used."""
        self._endpoints = endpoints(settings)
        self._settings = settings
        self._topology = topology
        self._work = work
        self._name = name
        self._backoff = Backoff(settings.reconnect_max, fraction)
        self._stopping = False
        self._awake = threading.Event()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._settled_at = 0.0
        self._told: set[ErrorCode] = set()
        self.connected = False
        self.alive_at = time.monotonic()
        self.trouble: str | None = "not connected yet"

    def run(self) -> None:
        """Until stopped. Logs a loss once, by kind, and the recovery."""
        silence_pika()
        while not self._stopping:
            error = self._try_all()
            self.connected = False
            if error is not None:
                self._lost(error)
                self._pause(self._backoff.next())
        self.trouble = "stopped"

    def stop(self) -> None:
        """Ends `run` within a second, connected or not. Final."""
        with self._lock:
            self._stopping = True
            self._awake.set()
            if self._session is not None:
                self._session.leave()

    def hurry(self) -> None:
        """Ends a pause between two tries."""
        self._awake.set()

    def post(self, function: Callable[[], None]) -> None:
        """Runs it in the link's thread, soon, if there is a connection; otherwise never."""
        with self._lock:
            if self._session is not None:
                self._session.post(function)

    def _try_all(self) -> BrokerError | None:
        """One try at each endpoint, or the life of the first connection that comes to be; None when stopped."""
        errors: list[BrokerError] = []
        for endpoint in self._endpoints:
            try:
                session = self._begin(endpoint)
            except OSError as fault:  # no file descriptors left, say
                return failures.of_connection(endpoint, fault)
            if session is None:
                return None
            try:
                error = session.run()
            finally:
                with self._lock:
                    self._session = None
            if error is None or session.was_settled:
                return error
            errors.append(error)
        return failures.of_all(errors)

    def _begin(self, endpoint: Endpoint) -> Session | None:
        with self._lock:
            if self._stopping:
                return None
            self._session = Session(
                endpoint,
                self._settings,
                self._topology,
                self._work,
                name=self._name,
                beat=self._beat,
                on_settled=self._on_settled,
                on_blocked=self._on_blocked,
            )
            return self._session

    def _beat(self) -> None:
        self.alive_at = time.monotonic()

    def _on_settled(self) -> None:
        self._settled_at = time.monotonic()
        self.trouble = None
        self.connected = True
        if self._told:
            log.info("the broker is back", connection=self._name)
            self._told.clear()

    def _on_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - what the broker said
        if blocked:
            self.trouble = "the broker takes no messages now"
            log.warning(
                "the broker takes no messages now",
                connection=self._name,
                hint="Look for a disk or memory alarm at the broker (rabbitmqctl status).",
            )
        else:
            self.trouble = None
            log.info("the broker takes messages again", connection=self._name)

    def _lost(self, error: BrokerError) -> None:
        self.trouble = f"{error.message} [{error.code}]"
        if self._settled_at:
            if time.monotonic() - self._settled_at > _HELD_S:
                self._backoff.reset()
            self._settled_at = 0.0
        if error.code not in self._told:
            self._told.add(error.code)
            log.warning(
                "no connection to the broker; trying again until there is one",
                connection=self._name,
                code=error.code.value,
                reason=error.message,
                hint=error.hint,
            )

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            if self._awake.wait(min(left, _BEAT_EVERY)):
                break
            self._beat()
        self._beat()
        self._awake.clear()

"""The relay's life: its threads, and what it looks after beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter

from backup_agent.api.catalogue import presence
from backup_agent.api.catalogue.database import Database
from backup_agent.api.relay.answering import take_answers
from backup_agent.api.relay.consumer import Consumer
from backup_agent.api.relay.dispatcher import Dispatcher
from backup_agent.api.relay.hearing import AnswerTold, Heard
from backup_agent.api.relay.sweeping import Patience, forget, sweep
from backup_agent.api.relay.sweeping_operations import OperationPatience, forget_operations, give_up
from backup_agent.api.relay.taking import Outcome, take
from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import CatalogueError

log = structlog.get_logger(__name__)

_SWEEPS_PER_PATIENCE = 5
_LONGEST_PAUSE = 15.0
_LAX = 1 / 60
"""Of the patience: so exactly is known when an agent was heard, or each of its events would be written down twice."""
_FORGET_EVERY = 3600.0
_FORGET_OPERATIONS_EVERY = 60.0
_JOIN_S = 10.0


class EventMetrics:
    """Made once per process: the name is registered with Prometheus's library."""

    def __init__(self) -> None:
        self.events = Counter("backup_api_events", "Events of agents, by what came of them.", ("outcome",))


class Relay:
    """`run` until `stop`, which any thread or signal handler may call."""

    def __init__(
        self,
        name: str,
        database: Database,
        broker: BrokerSettings,
        patience: Patience,
        operations: OperationPatience,
        *,
        keep: timedelta,
        metrics: EventMetrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`name` is this host's; `keep` is how long deleted backups are remembered."""
        self._name = name
        self._database = database
        self._patience = patience
        self._operations = operations
        self._keep = keep
        self._metrics = metrics
        self._now = now
        self._dispatcher = Dispatcher(broker, database)
        self._consumer = Consumer(broker, self._take)
        self._stopping = threading.Event()
        self._sweep_every = min(_LONGEST_PAUSE, patience.silent_after.total_seconds() / _SWEEPS_PER_PATIENCE)

    @property
    def connected(self) -> bool:
        return self._dispatcher.connected and self._consumer.connected

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Raises RuntimeError when one of its threads has died."""
        threads = [
            threading.Thread(target=self._dispatcher.run, name="dispatcher", daemon=True),
            threading.Thread(target=self._consumer.run, name="consumer", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._look_after(threads)
        finally:
            self._dispatcher.stop()
            self._consumer.stop()
            for thread in threads:
                thread.join(_JOIN_S)

    def _look_after(self, threads: Sequence[threading.Thread]) -> None:
        chores = (
            _Chore(self._tell, presence.BEAT_EVERY_S),
            _Chore(self._sweep, self._sweep_every),
            _Chore(self._forget, _FORGET_EVERY),
            _Chore(self._forget_operations, _FORGET_OPERATIONS_EVERY),
        )
        was_connected = False
        while not self._stopping.wait(min(0.2, self._sweep_every)):
            if not all(thread.is_alive() for thread in threads):
                msg = "a thread of the relay has died"
                raise RuntimeError(msg)
            if self.connected != was_connected:
                was_connected = self.connected
                chores[0].at_once()
            for chore in chores:
                chore.do_if_due()

    def _take(self, events: Sequence[Heard]) -> None:
        answers = [heard.data for heard in events if isinstance(heard.data, AnswerTold)]
        answered = take_answers(self._database, answers, self._now())
        others = [heard for heard in events if not isinstance(heard.data, AnswerTold)]
        lax = self._patience.silent_after * _LAX
        outcome = take(self._database, others, self._now(), lax=lax) if others else Outcome()
        for kind in ("applied", "stale", "refused", "unregistered", "heartbeats"):
            self._metrics.events.labels(kind).inc(getattr(outcome, kind) + getattr(answered, kind, 0))

    def _tell(self) -> None:
        presence.tell(self._database, self._name, self._now(), connected=self.connected)

    def _sweep(self) -> None:
        """Only when a living agent would have been heard."""
        if self._consumer.listening_for() > self._patience.silent_after.total_seconds():
            sweep(self._database, self._patience, self._now())
            give_up(self._database, self._operations, self._now())

    def _forget(self) -> None:
        forget(self._database, self._now() - self._keep)

    def _forget_operations(self) -> None:
        forget_operations(self._database, self._operations, self._now())


class _Chore:
    """What is done every so often, and again later when the database does not let it be done."""

    def __init__(self, do: Callable[[], None], every: float) -> None:
        self._do = do
        self._every = every
        self._due = 0.0
        self._failing = False

    def at_once(self) -> None:
        self._due = 0.0

    def do_if_due(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._every
        try:
            self._do()
        except CatalogueError as error:
            if not self._failing:
                log.warning("the catalogue can't be used", code=error.code.value, reason=error.message, hint=error.hint)
            self._failing = True
        else:
            self._failing = False

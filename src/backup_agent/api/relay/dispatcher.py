"""Commands from the catalogue's outbox to the broker. One leaves the outbox when the broker has confirmed it.

Per instance one command is under way at a time: their order is kept, also when the broker refuses one, and an instance
whose queue can't be had does not keep the others waiting. Sent twice is possible (a crash before the confirm was
written), never not at all; agents carry a command out once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog

from backup_agent.api.catalogue import outbox
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.outbox import Waiting
from backup_agent.broker.backoff import Backoff
from backup_agent.broker.confirms import Answer, Message
from backup_agent.broker.link import Link
from backup_agent.broker.session import Session
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import COMMANDS, Binding, Exchange, Part, Topology, for_commands
from backup_agent.errors import CatalogueError, ErrorCode

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/cloudevents+json"
_LOOK_EVERY = 0.2
"""Seconds between two looks into the outbox, which other processes fill."""
_GATHER_S = 0.03
"""Answers that come within it are written down together."""
_AT_ONCE = 200
"""Commands under way, of as many instances."""
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Dispatcher:
    """`run` in a thread of its own (it starts a second one, which alone touches the database); the rest from any."""

    def __init__(self, settings: BrokerSettings, database: Database) -> None:
        """Raises ConfigError (`config_invalid`) for URLs that can't be used."""
        self._settings = settings
        self._database = database
        self._link = Link(settings, _shared(settings), self, name="backup-agent api dispatcher")
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._under_way: set[str] = set()
        self._paused: dict[str, float] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._declared: set[str] = set()
        self._confirmed: deque[Waiting] = deque()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._failing = False

    @property
    def connected(self) -> bool:
        return self._link.connected

    def run(self) -> None:
        """Until stopped."""
        watch = threading.Thread(target=self._watch, name="outbox")
        watch.start()
        try:
            self._link.run()
        finally:
            self._ended.set()
            self._wake.set()
            watch.join()

    def stop(self) -> None:
        """Ends `run` soon. What is left in the outbox goes out at the next start. Final."""
        self._link.stop()

    def begin(self, session: Session) -> None:
        with self._lock:
            self._session = session
            self._declared.clear()
        session.settled()
        self._wake.set()

    def end(self) -> None:
        """What was under way without an answer is sent again; what was confirmed is not."""
        with self._lock:
            self._session = None
            self._under_way = {waiting.instance_id for waiting in self._confirmed}

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self._settle()
                self._offer()
                self._works()
            except CatalogueError as error:
                self._fails(error)
                self._ended.wait(1.0)
            except Exception:
                log.exception("a fault while looking for commands")
                self._ended.wait(1.0)
            self._wake.wait(_LOOK_EVERY)
            self._ended.wait(_GATHER_S)
            self._wake.clear()
        self._settle_at_last()

    def _settle(self) -> None:
        """Removes what was confirmed, and only then lets the next of these instances go."""
        done = list(self._confirmed)
        if done:
            outbox.confirmed(self._database, [waiting.number for waiting in done])
            with self._lock:
                for waiting in done:
                    self._confirmed.remove(waiting)
                    self._under_way.discard(waiting.instance_id)

    def _settle_at_last(self) -> None:
        try:
            self._settle()
        except CatalogueError as error:
            self._fails(error)

    def _offer(self) -> None:
        now = time.monotonic()
        with self._lock:
            session, busy = self._session, set(self._under_way)
            busy |= {instance_id for instance_id, until in self._paused.items() if until > now}
        if session is None or len(busy) >= _AT_ONCE:
            return
        first: dict[str, Waiting] = {}
        for waiting in outbox.pending(self._database, _AT_ONCE, without=busy):
            first.setdefault(waiting.instance_id, waiting)
        if not first:
            return
        with self._lock:
            if session is not self._session:
                return
            self._under_way |= first.keys()
        self._link.post(lambda: self._send_all(session, list(first.values())))

    def _send_all(self, session: Session, commands: Sequence[Waiting]) -> None:
        for waiting in commands:
            if session is self._session:
                self._send(session, waiting)

    def _send(self, session: Session, waiting: Waiting) -> None:
        """The agent's queue is made first, so that a command can wait for an agent that has never run."""
        if self._settings.declare and waiting.instance_id not in self._declared:
            # Should the broker refuse it, it closes the channel: the others go first then.
            self._pause(waiting.instance_id)
            self._declare(session, waiting, list(reversed(_own(waiting.instance_id, self._settings))))
        else:
            self._publish(session, waiting)

    def _declare(self, session: Session, waiting: Waiting, left: list[Part]) -> None:
        if session is not self._session:
            return
        if left:
            left.pop().declare(session.channel, lambda _: self._declare(session, waiting, left), passive=False)
            return
        self._declared.add(waiting.instance_id)
        self._resume(waiting.instance_id)
        self._publish(session, waiting)

    def _publish(self, session: Session, waiting: Waiting) -> None:
        message = Message(
            exchange=COMMANDS,
            routing_key=waiting.instance_id,
            id=waiting.message_id,
            body=waiting.body,
            content_type=CONTENT_TYPE,
        )
        session.confirms.publish(message, lambda answer: self._answered(session, waiting, answer))

    def _answered(self, session: Session, waiting: Waiting, answer: Answer) -> None:
        if session is not self._session:
            return  # left meanwhile: it is sent again
        if answer is Answer.CONFIRMED:
            self._resume(waiting.instance_id)
            self._confirmed.append(waiting)
        else:
            self._refused(waiting, answer)
        self._wake.set()

    def _refused(self, waiting: Waiting, answer: Answer) -> None:
        if waiting.instance_id not in self._backoffs:
            log.warning(
                "the broker did not take a command; trying again until it does",
                code=ErrorCode.BROKER_FAILED.value,
                answer=answer.name.lower(),
                instance_id=waiting.instance_id,
                backup_id=waiting.backup_id,
                hint="Check that the instance's agent has made its queue, and whether it is full.",
            )
        self._declared.discard(waiting.instance_id)  # its queue was deleted
        self._pause(waiting.instance_id)
        with self._lock:
            self._under_way.discard(waiting.instance_id)

    def _pause(self, instance_id: str) -> None:
        backoff = self._backoffs.setdefault(instance_id, Backoff(self._settings.reconnect_max, random.random))
        with self._lock:
            self._paused[instance_id] = time.monotonic() + backoff.next()

    def _resume(self, instance_id: str) -> None:
        self._backoffs.pop(instance_id, None)
        with self._lock:
            self._paused.pop(instance_id, None)

    def _fails(self, error: CatalogueError) -> None:
        if not self._failing:
            self._failing = True
            log.warning("the outbox can't be read", code=error.code.value, reason=error.message, hint=error.hint)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            log.info("the outbox can be read again")


def _shared(settings: BrokerSettings) -> Topology:
    """What all instances' queues hang on."""
    own = _own(_NOBODY, settings)
    return tuple(part for part in for_commands(_NOBODY, settings.dead_letter_limit) if part not in own)


def _own(instance_id: str, settings: BrokerSettings) -> Topology:
    """The instance's queue and its binding."""
    parts = for_commands(instance_id, settings.dead_letter_limit)
    binding = next(part for part in parts if isinstance(part, Binding) and part.key == instance_id)
    return tuple(part for part in parts if not isinstance(part, Exchange) and _names(part) == binding.queue)


def _names(part: Part) -> str:
    return part.queue if isinstance(part, Binding) else part.name

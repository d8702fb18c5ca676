"""Events from the broker, a batch at a time, acknowledged when they are in the catalogue.

What it does not do: decide what they mean. One that can't be understood goes to the dead letters, and stops nobody.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from backup_agent.api.relay.hearing import Heard, parse_event
from backup_agent.broker import failures
from backup_agent.broker.backoff import Backoff
from backup_agent.broker.confirms import Answer
from backup_agent.broker.dead_letter import REASON_LIMIT, dead_letter
from backup_agent.broker.link import Link
from backup_agent.broker.session import Session
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import DEAD_LETTER, EVENTS_QUEUE, Exchange, Topology, for_commands, for_events
from backup_agent.errors import BackupAgentError, ErrorCode

log = structlog.get_logger(__name__)

Take = Callable[[Sequence[Heard]], None]
"""Takes events over for good. Raises BackupAgentError when that can't be done now. Twice must be harmless."""

_BATCH = 100
"""Events in a transaction: more would keep the API from writing for too long."""
_PREFETCH = 3 * _BATCH
_GATHER_S = 0.05


@dataclass(frozen=True, slots=True)
class _Delivery:
    tag: int
    routing_key: str
    properties: BasicProperties
    body: bytes


class Consumer:
    """`run` in a thread of its own, where `take` is called; everything else from any thread."""

    def __init__(self, settings: BrokerSettings, take: Take) -> None:
        """Raises ConfigError (`config_invalid`) for URLs that can't be used."""
        self._take = take
        self._link = Link(settings, _topology(settings), self, name="backup-agent api consumer")
        self._backoff = Backoff(settings.reconnect_max, random.random)
        self._session: Session | None = None
        self._batch: list[_Delivery] = []
        self._burying: set[int] = set()
        self._due = False
        self._failing = False
        self._caught_up_at: float | None = None

    @property
    def connected(self) -> bool:
        return self._link.connected

    def listening_for(self) -> float:
        """For how many seconds it has heard everything soon after it was said; 0 while it has not."""
        since = self._caught_up_at
        return 0.0 if since is None else time.monotonic() - since

    def run(self) -> None:
        """Until stopped."""
        self._link.run()

    def stop(self) -> None:
        """Ends `run` soon; what was not acknowledged is delivered again. Final."""
        self._link.stop()

    def begin(self, session: Session) -> None:
        self._session = session
        session.channel.add_on_cancel_callback(
            lambda _: session.fail(failures.queue_gone(session.endpoint, EVENTS_QUEUE))
        )
        session.channel.basic_qos(prefetch_count=_PREFETCH)
        session.channel.basic_consume(EVENTS_QUEUE, self._on_message, callback=lambda _: session.settled())
        self._look_later(session)

    def end(self) -> None:
        self._session = None
        self._batch.clear()
        self._burying.clear()
        self._due = False
        self._caught_up_at = None

    def _look_later(self, session: Session) -> None:
        """No message at all means to have heard everything, too."""

        def look() -> None:
            if session is self._session and session.was_settled and not self._batch:
                self._caught_up()
            if session is self._session:
                self._look_later(session)

        session.later(1.0, look)

    def _caught_up(self) -> None:
        if self._caught_up_at is None:
            self._caught_up_at = time.monotonic()

    def _on_message(self, channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        del channel
        session = self._session
        if session is None:
            return
        self._batch.append(_Delivery(method.delivery_tag or 0, str(method.routing_key), properties, body))
        if not self._due:
            self._due = True
            session.later(0.0 if len(self._batch) >= _BATCH else _GATHER_S, lambda: self._flush(session))

    def _flush(self, session: Session) -> None:
        if session is not self._session:
            return
        self._due = False
        batch = self._batch[:_BATCH]
        heard, good = self._parse(session, batch)
        try:
            self._take_over(session, heard, good)
        except BackupAgentError as error:
            self._later(session, error)
            return
        if self._failing:
            self._failing = False
            log.info("events can be taken over again")
        self._backoff.reset()
        if self._batch:
            self._due = True
            session.later(0.0, lambda: self._flush(session))
        if len(batch) < _BATCH:
            self._caught_up()

    def _parse(self, session: Session, batch: Sequence[_Delivery]) -> tuple[list[Heard], list[_Delivery]]:
        heard: list[Heard] = []
        good: list[_Delivery] = []
        for delivery in batch:
            try:
                heard.append(parse_event(delivery.body, delivery.routing_key))
            except BackupAgentError as error:
                self._bury(session, delivery, error.code, error.message)
            else:
                good.append(delivery)
        return heard, good

    def _take_over(self, session: Session, heard: Sequence[Heard], good: Sequence[_Delivery]) -> None:
        try:
            self._take(heard)
        except BackupAgentError:
            raise
        except Exception:
            log.exception("a fault of this program kept it from taking events over; trying them one by one")
            self._one_by_one(session, heard, good)
            return
        self._acknowledge(session, good)
        del self._batch[: len(good)]  # they are its beginning: the others of it were buried

    def _acknowledge(self, session: Session, good: Sequence[_Delivery]) -> None:
        """At once, which is cheaper for both sides, unless one before them waits for its burial."""
        if good and not self._burying:
            session.channel.basic_ack(good[-1].tag, multiple=True)
            return
        for delivery in good:
            session.channel.basic_ack(delivery.tag)

    def _one_by_one(self, session: Session, heard: Sequence[Heard], good: Sequence[_Delivery]) -> None:
        for one, delivery in zip(heard, good, strict=True):
            try:
                self._take([one])
            except BackupAgentError:
                raise
            except Exception as error:
                log.exception("an event that can't be taken over goes to the dead letters")
                self._bury(session, delivery, ErrorCode.INTERNAL, f"a fault of the API: {type(error).__name__}")
            else:
                session.channel.basic_ack(delivery.tag)
                self._batch.remove(delivery)

    def _later(self, session: Session, error: BackupAgentError) -> None:
        self._caught_up_at = None
        if not self._failing:
            self._failing = True
            log.warning(
                "events can't be taken over now; trying again",
                code=error.code.value,
                reason=error.message,
                hint=error.hint,
            )
        self._due = True
        session.later(self._backoff.next(), lambda: self._flush(session))

    def _bury(self, session: Session, delivery: _Delivery, code: ErrorCode, reason: str) -> None:
        self._batch.remove(delivery)
        self._burying.add(delivery.tag)
        log.warning(
            "a message was refused and goes to the dead letters",
            code=code.value,
            reason=reason[:REASON_LIMIT],
            bytes=len(delivery.body),
        )

        def answered(answer: Answer) -> None:
            if session is not self._session:
                return  # left meanwhile: it is delivered again
            self._burying.discard(delivery.tag)
            if answer is Answer.CONFIRMED:
                session.channel.basic_ack(delivery.tag)
            else:
                log.warning("the broker did not take a dead letter", answer=answer.name.lower())
                session.channel.basic_reject(delivery.tag, requeue=False)

        letter = dead_letter(EVENTS_QUEUE, code, reason, delivery.properties, delivery.body, now=datetime.now(UTC))
        session.confirms.publish(letter, answered)


def _topology(settings: BrokerSettings) -> Topology:
    """The events' queue, and the dead letters."""
    letters = for_commands("", settings.dead_letter_limit)
    own = [part for part in letters if DEAD_LETTER in (getattr(part, "name", ""), getattr(part, "exchange", ""))]
    return (*own, *(part for part in for_events() if isinstance(part, Exchange) or part not in own))

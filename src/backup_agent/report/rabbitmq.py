"""Events to RabbitMQ: what waits in the outbox, in its order, and a heartbeat.

What it does not do: make events, or drop any. An event leaves the outbox when the broker has confirmed it.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable

import structlog

from backup_agent.broker.backoff import Backoff
from backup_agent.broker.confirms import Answer, Message
from backup_agent.broker.link import Link
from backup_agent.broker.session import Session
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import EVENTS, for_events
from backup_agent.errors import BackupAgentError, ErrorCode
from backup_agent.report.interface import Outbox, WaitingEvent
from backup_agent.report.wire import CONTENT_TYPE

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
"""Seconds between two looks for events of other processes."""


class RabbitPublisher:
    """`run` in a thread of its own (it starts a second one, which waits for the outbox); the rest from any thread.

    One event is under way at a time: their order is kept also when the broker refuses one, which is then tried again
    until it is taken. Told twice is possible (a confirm that was lost), never not at all.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        outbox: Outbox,
        heartbeat: Callable[[], tuple[str, bytes]],
        heartbeat_every: float,
    ) -> None:
        """`heartbeat` returns a routing key and a body; it is called in the publisher's thread, so be quick. Heartbeats
        are dropped while there is no connection. Raises ConfigError (`config_invalid`) for URLs that can't be used.
        """
        self._outbox = outbox
        self._heartbeat = heartbeat
        self._heartbeat_every = heartbeat_every
        self._backoff = Backoff(settings.reconnect_max, random.random)
        self._link = Link(settings, for_events(), self, name="backup-agent publisher")
        self._session: Session | None = None
        self._under_way = False
        self._not_before = 0.0
        self._refusal: str | None = None
        self._outbox_fails = False
        self._flush_until: float | None = None
        self._ended = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether events can be published."""
        return self._link.connected

    @property
    def alive_at(self) -> float:
        """When (`time.monotonic`) the thread was last seen at work; also while it tries to connect."""
        return self._link.alive_at

    @property
    def trouble(self) -> str | None:
        """Why nothing is published; None when all is well."""
        return self._link.trouble or self._refusal

    def run(self) -> None:
        """Until stopped."""
        watch = threading.Thread(target=self._watch, name="outbox-watch")
        watch.start()
        try:
            self._link.run()
        finally:
            self._ended.set()
            watch.join()

    def stop(self, flush_within: float) -> None:
        """Ends `run` when the outbox is empty, at the latest after `flush_within` seconds and one more. Final."""
        self._flush_until = time.monotonic() + flush_within
        if flush_within <= 0:
            self._link.stop()
        else:
            self._link.hurry()
            self._link.post(self._publish_next)

    def begin(self, session: Session) -> None:
        self._session = session
        session.settled()
        self._send_heartbeat(session)
        self._not_before = 0.0
        self._publish_next()

    def end(self) -> None:
        self._session = None
        self._under_way = False

    def _watch(self) -> None:
        """Has the outbox looked at: at once when this process has put something in, else now and then."""
        while not self._ended.is_set():
            try:
                self._outbox.wait(_LOOK_EVERY)
                self._flush()
            except BackupAgentError as error:
                self._outbox_failed(error)
                self._ended.wait(_LOOK_EVERY)
            except Exception:
                log.exception("a fault while looking for events")
                self._ended.wait(_LOOK_EVERY)
            self._link.post(self._publish_next)

    def _flush(self) -> None:
        """When this was asked to stop: keeps the link at its tries while there is something to say, and time."""
        if self._flush_until is None:
            return
        if time.monotonic() >= self._flush_until or self._outbox.depth() == 0:
            self._link.stop()
        else:
            self._link.hurry()

    def _publish_next(self) -> None:
        session = self._session
        if session is None or self._under_way or time.monotonic() < self._not_before:
            return
        try:
            waiting = self._outbox.pending(1)
        except BackupAgentError as error:
            self._outbox_failed(error)
            return
        self._outbox_works()
        if waiting:
            self._under_way = True
            self._publish(session, waiting[0])
        elif self._flush_until is not None:
            self._link.stop()

    def _publish(self, session: Session, event: WaitingEvent) -> None:
        message = Message(
            exchange=EVENTS,
            routing_key=event.routing_key,
            id=f"{event.backup_id}/{event.id}",
            body=event.body,
            content_type=CONTENT_TYPE,
        )
        session.confirms.publish(message, lambda answer: self._answered(session, event, answer))

    def _answered(self, session: Session, event: WaitingEvent, answer: Answer) -> None:
        if session is not self._session:
            return  # left meanwhile: it is told again
        self._under_way = False
        if answer is not Answer.CONFIRMED:
            self._refused(session, event, answer)
            return
        self._backoff.reset()
        if self._refusal is not None:
            self._refusal = None
            log.info("the broker takes events again")
        try:
            self._outbox.confirmed(event.id)
        except BackupAgentError as error:
            self._outbox_failed(error)
            self._not_before = time.monotonic() + _LOOK_EVERY
            return
        self._publish_next()

    def _refused(self, session: Session, event: WaitingEvent, answer: Answer) -> None:
        if self._refusal is None:
            what = "did not store" if answer is Answer.REFUSED else "has no queue for"
            self._refusal = f"the broker {what} an event of type {event.type} [{ErrorCode.BROKER_FAILED}]"
            log.warning(
                "the broker did not take an event; trying again until it does",
                code=ErrorCode.BROKER_FAILED.value,
                answer=answer.name.lower(),
                type=str(event.type),
                backup_id=event.backup_id,
                hint=f"Check that a queue is bound to the exchange {EVENTS}, and whether it is full.",
            )
        pause = self._backoff.next()
        self._not_before = time.monotonic() + pause
        session.later(pause, self._publish_next)

    def _send_heartbeat(self, session: Session) -> None:
        if session is not self._session:
            return
        session.later(self._heartbeat_every, lambda: self._send_heartbeat(session))
        if session.blocked:
            return
        try:
            key, body = self._heartbeat()
        except Exception:
            log.exception("a heartbeat could not be made")
            return
        message = Message(EVENTS, key, str(uuid.uuid4()), body, CONTENT_TYPE, persistent=False, mandatory=False)
        session.confirms.publish(message, lambda _: None)

    def _outbox_failed(self, error: BackupAgentError) -> None:
        if not self._outbox_fails:
            self._outbox_fails = True
            log.warning("the outbox can't be read", code=error.code.value, reason=error.message, hint=error.hint)

    def _outbox_works(self) -> None:
        if self._outbox_fails:
            self._outbox_fails = False
            log.info("the outbox can be read again")

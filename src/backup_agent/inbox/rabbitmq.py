"""Commands from RabbitMQ: one at a time, acknowledged when they were taken over, never while they are carried out.

What it does not do: understand them. That is `accept`'s business.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from backup_agent.broker import failures
from backup_agent.broker.backoff import Backoff
from backup_agent.broker.confirms import Answer
from backup_agent.broker.dead_letter import REASON_LIMIT, dead_letter
from backup_agent.broker.link import Link
from backup_agent.broker.session import Session
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import command_queue, for_commands
from backup_agent.errors import BackupAgentError, ErrorCode
from backup_agent.inbox.interface import Accept, Refused
from backup_agent.inbox.wire import may_hold_secret

log = structlog.get_logger(__name__)

_HOLD_S = 1500.0
"""How long a command that can't be taken over is kept before it is given back: each giving back counts against the
queue's delivery limit (20), while one not acknowledged for 30 minutes closes the channel."""


class RabbitInbox:
    """`run` in a thread of its own; `accept` is called there. Everything else from any thread.

    A command that `accept` can't take over now is tried again with back-off, and after 25 minutes given back to the
    queue, which delivers it again. A refused one goes to the dead letters, with the reason in its headers.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        instance_id: str,
        accept: Accept,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        hold: float = _HOLD_S,
    ) -> None:
        """Raises ConfigError (`config_invalid`) for URLs that can't be used."""
        self._queue = command_queue(instance_id)
        self._accept = accept
        self._now = now
        self._hold = hold
        self._backoff = Backoff(settings.reconnect_max, random.random)
        self._failing = False
        self._session: Session | None = None
        topology = for_commands(instance_id, settings.dead_letter_limit)
        self._link = Link(settings, topology, self, name=f"backup-agent {instance_id} inbox")

    @property
    def connected(self) -> bool:
        """Whether commands can come in."""
        return self._link.connected

    @property
    def alive_at(self) -> float:
        """When (`time.monotonic`) the thread was last seen at work; also while it tries to connect."""
        return self._link.alive_at

    @property
    def trouble(self) -> str | None:
        """Why no commands come in; None when they do."""
        return self._link.trouble

    def run(self) -> None:
        """Until stopped."""
        self._link.run()

    def stop(self) -> None:
        """Ends `run` within a second, unless `accept` takes longer. Final."""
        self._link.stop()

    def begin(self, session: Session) -> None:
        self._session = session
        session.channel.add_on_cancel_callback(
            lambda _: session.fail(failures.queue_gone(session.endpoint, self._queue))
        )
        session.channel.basic_qos(prefetch_count=1)
        session.channel.basic_consume(self._queue, self._on_message, callback=lambda _: session.settled())

    def end(self) -> None:
        self._session = None

    def _on_message(self, channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        del channel
        self._take(_Delivery(method.delivery_tag or 0, properties, body, time.monotonic() + self._hold))

    def _take(self, delivery: _Delivery) -> None:
        session = self._session
        if session is None:
            return  # lost meanwhile: it is delivered again
        try:
            refused = self._accept(delivery.body)
        except BackupAgentError as error:
            self._later(session, delivery, error)
            return
        except Exception as error:
            log.exception("a fault of this program kept it from taking a command over")
            refused = Refused(ErrorCode.INTERNAL, f"a fault of the agent: {type(error).__name__}")
        self._backoff.reset()
        if self._failing:
            self._failing = False
            log.info("commands can be taken over again")
        if refused is None:
            session.channel.basic_ack(delivery.tag)
        else:
            self._bury(session, delivery, refused)

    def _later(self, session: Session, delivery: _Delivery, error: BackupAgentError) -> None:
        if not self._failing:
            self._failing = True
            log.warning(
                "a command can't be taken over now; trying again",
                code=error.code.value,
                reason=error.message,
                hint=error.hint,
            )
        if time.monotonic() < delivery.hold_until:
            session.later(self._backoff.next(), lambda: self._take_on(session, delivery))
        else:
            session.channel.basic_nack(delivery.tag, requeue=True)

    def _take_on(self, session: Session, delivery: _Delivery) -> None:
        if session is self._session:
            self._take(delivery)

    def _bury(self, session: Session, delivery: _Delivery, refused: Refused) -> None:
        size = len(delivery.body)
        log.warning(
            "a message was refused and goes to the dead letters",
            code=refused.code.value,
            reason=refused.reason[:REASON_LIMIT],
            bytes=size,
        )

        def answered(answer: Answer) -> None:
            if session is not self._session:
                return  # left meanwhile: it is delivered again
            if answer is Answer.CONFIRMED:
                session.channel.basic_ack(delivery.tag)
            else:
                # The broker dead-letters it by itself, if it can: without our reason, but whole.
                log.warning("the broker did not take a dead letter", answer=answer.name.lower())
                session.channel.basic_reject(delivery.tag, requeue=False)

        letter = dead_letter(
            self._queue,
            refused.code,
            refused.reason,
            delivery.properties,
            delivery.body,
            now=self._now(),
            withheld=may_hold_secret(delivery.body),
        )
        session.confirms.publish(letter, answered)


class _Delivery:
    """A message that was neither acknowledged nor given back yet."""

    __slots__ = ("body", "hold_until", "properties", "tag")

    def __init__(self, tag: int, properties: BasicProperties, body: bytes, hold_until: float) -> None:
        self.tag = tag
        self.properties = properties
        self.body = body
        self.hold_until = hold_until

"""How events reach a real RabbitMQ: all of them, in order, and none is forgotten before it was confirmed."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel
from structlog.testing import capture_logs

from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import EVENTS, EVENTS_QUEUE
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.report.rabbitmq import RabbitPublisher
from tests.fakes.outbox import MemoryOutbox
from tests.faults.waiting import until
from tests.integration.brokered import in_thread, next_message, rest, words
from tests.servers.mariadb import free_port
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.server

NEVER = 3600.0
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
NOWHERE = BrokerSettings((f"amqp://127.0.0.1:{free_port()}",), "user", "password", reconnect_max=0.5)


@pytest.fixture
def channel(rabbitmq: PrivateRabbitMQ) -> Iterator[BlockingChannel]:
    """The control plane's."""
    with rabbitmq.connect() as connection:
        yield connection.channel()


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
def proxy(rabbitmq: PrivateRabbitMQ) -> Iterator[TcpProxy]:
    with TcpProxy(rabbitmq.port) as made:
        yield made


def publisher(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, *, every: float = NEVER, **changes: Any
) -> RabbitPublisher:
    def heartbeat() -> tuple[str, bytes]:
        return f"{INSTANCE}.agent.heartbeat", b"alive"

    return RabbitPublisher(rabbitmq.settings(**changes), outbox, heartbeat, every)


@contextmanager
def at_work(publisher: RabbitPublisher) -> Iterator[threading.Thread]:
    with in_thread(publisher.run, lambda: publisher.stop(0)) as thread:
        until(lambda: publisher.connected, "the publisher is connected")
        yield thread


def told(channel: BlockingChannel, count: int) -> list[bytes]:
    """The bodies of the next events, without heartbeats."""
    bodies: list[bytes] = []
    while len(bodies) < count:
        _, body = next_message(channel, EVENTS_QUEUE)
        if body != b"alive":
            bodies.append(body)
    return bodies


def test_an_event_is_told_as_documented(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    backup_id = str(uuid.uuid4())
    with at_work(publisher(rabbitmq, outbox)):
        channel.queue_declare("of this test", exclusive=True)
        channel.queue_bind("of this test", EVENTS, f"{INSTANCE}.backup.*")
        outbox.add(json.dumps({"id": 1}).encode(), f"{INSTANCE}.backup.completed", backup_id=backup_id)
        properties, body = next_message(channel, "of this test")
        until(lambda: outbox.depth() == 0, "the event has left the outbox")

    assert json.loads(body) == {"id": 1}
    assert properties.content_type == "application/cloudevents+json"
    assert properties.delivery_mode == 2
    assert properties.message_id == f"{backup_id}/1"


def test_events_are_told_in_their_order_and_leave_the_outbox(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    for number in range(200):
        outbox.add(b"%d" % number)

    made = publisher(rabbitmq, outbox)
    assert outbox.depth() == 200
    with at_work(made):
        assert told(channel, 200) == [b"%d" % number for number in range(200)]
        until(lambda: outbox.depth() == 0, "the outbox is empty")


def test_a_new_event_is_told_at_once(rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox) -> None:
    took = []
    with at_work(publisher(rabbitmq, outbox)):
        for number in range(30):
            began = time.monotonic()
            outbox.add(b"%d" % number)
            until(lambda: outbox.depth() == 0, "it is confirmed")
            took.append(time.monotonic() - began)

    assert sorted(took)[15] < 10


def test_an_event_of_another_process_is_found(rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox) -> None:
    with at_work(publisher(rabbitmq, outbox)):
        began = time.monotonic()
        outbox.add(b"not noticed", wake=False)
        until(lambda: outbox.depth() == 0, "it is confirmed")

    assert time.monotonic() - began < 30


def test_what_no_queue_takes_stays_and_is_told_in_order_later(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    made = publisher(rabbitmq, outbox)
    with capture_logs() as lines, at_work(made):
        channel.queue_unbind(EVENTS_QUEUE, EVENTS, "#")
        outbox.add(b"first")
        outbox.add(b"second")
        until(lambda: made.trouble is not None, "the trouble is told")
        assert "broker_failed" in (made.trouble or "")
        assert [event.body for event in outbox.pending(9)] == [b"first", b"second"]
        channel.queue_bind(EVENTS_QUEUE, EVENTS, "#")
        assert told(channel, 2) == [b"first", b"second"]
        until(lambda: made.trouble is None, "the trouble is over")

    assert words(lines, "warning") == ["the broker did not take an event; trying again until it does"]
    assert words(lines, "info") == ["the broker takes events again"]


def test_what_the_broker_can_not_store_stays_and_is_told_later(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    made = publisher(rabbitmq, outbox)
    with capture_logs() as lines, at_work(made):
        full = {"x-max-length": 0, "x-overflow": "reject-publish"}
        channel.queue_declare("full", exclusive=True, arguments=full)
        channel.queue_bind("full", EVENTS, "#")
        outbox.add(b"stubborn")
        until(lambda: made.trouble is not None, "the trouble is told")
        assert outbox.depth() == 1
        channel.queue_delete("full")
        until(lambda: outbox.depth() == 0, "it is confirmed")

    assert [line["answer"] for line in lines if line["log_level"] == "warning"] == ["refused"]


def test_a_killed_broker_loses_no_event(rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox) -> None:
    made = publisher(rabbitmq, outbox)
    with at_work(made):
        rabbitmq.settle()
        for number in range(50):
            outbox.add(b"%d" % number)
        until(lambda: outbox.depth() < 50, "some are told")
        rabbitmq.kill()
        until(lambda: not made.connected, "the loss is noticed")
        outbox.add(b"50")
        rabbitmq.start()
        until(lambda: outbox.depth() == 0, "all are confirmed")

    with rabbitmq.connect() as connection:
        bodies = [body for body in rest(connection.channel(), EVENTS_QUEUE) if body != b"alive"]
    assert list(dict.fromkeys(bodies)) == [b"%d" % number for number in range(51)]


def test_an_event_is_not_forgotten_before_it_is_confirmed(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel, proxy: TcpProxy
) -> None:
    made = publisher(rabbitmq, outbox, urls=(f"amqp://127.0.0.1:{proxy.port}",))
    with at_work(made):
        proxy.hold()
        outbox.add(b"on its way")
        until(lambda: outbox.seen, "it is published")
        proxy.cut()
        proxy.release()
        assert told(channel, 1) == [b"on its way"]
        until(lambda: outbox.depth() == 0, "it is confirmed")


def test_a_broker_that_confirms_nothing_is_left_though_its_connection_is_well(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel, proxy: TcpProxy
) -> None:
    url = f"amqp://127.0.0.1:{proxy.port}"
    made = publisher(rabbitmq, outbox, urls=(url,), heartbeat=600, blocked_timeout=1)
    with capture_logs() as lines, at_work(made):
        proxy.hold()
        outbox.add(b"on its way")
        until(lambda: "broker_failed" in [line.get("code") for line in lines], "it is left")
        assert outbox.depth() == 1
        proxy.release()
        until(lambda: outbox.depth() == 0, "it is confirmed")

    assert told(channel, 1) == [b"on its way"]


def test_a_full_broker_is_waited_for_and_does_not_keep_the_agent_from_ending(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox
) -> None:
    made = publisher(rabbitmq, outbox)
    with capture_logs() as lines:
        with at_work(made) as thread, rabbitmq.without_room():
            outbox.add(b"too much")
            until(lambda: "takes no messages" in (made.trouble or ""), "the trouble is told")
            began = time.monotonic()
            until(lambda: made.alive_at > began + 2, "two seconds of life")
            asked = time.monotonic()
            made.stop(0)
            thread.join()
            assert time.monotonic() - asked < 30
        assert outbox.depth() == 1
        with at_work(publisher(rabbitmq, outbox)):
            until(lambda: outbox.depth() == 0, "it is confirmed")

    assert words(lines, "warning") == ["the broker takes no messages now"]


def test_a_blocking_broker_takes_the_event_when_it_has_room_again(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    made = publisher(rabbitmq, outbox, blocked_timeout=600)
    with at_work(made):
        with rabbitmq.without_room():
            outbox.add(b"patient")
            until(lambda: "takes no messages" in (made.trouble or ""), "the trouble is told")
        until(lambda: outbox.depth() == 0, "it is confirmed")
        assert made.trouble is None

    assert told(channel, 1) == [b"patient"]


def test_a_broker_that_blocks_for_too_long_is_left(rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox) -> None:
    made = publisher(rabbitmq, outbox, blocked_timeout=1)
    with capture_logs() as lines, at_work(made), rabbitmq.without_room():
        outbox.add(b"patient")
        until(lambda: any("takes no messages (" in line.get("reason", "") for line in lines), "it is left")


def test_heartbeats_come_regularly_and_never_from_the_outbox(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    with at_work(publisher(rabbitmq, outbox, every=0.2)):
        for _ in range(5):
            properties, body = next_message(channel, EVENTS_QUEUE)
            assert body == b"alive"
            assert properties.delivery_mode is None
        channel.queue_unbind(EVENTS_QUEUE, EVENTS, "#")  # heartbeats that nobody hears are no trouble
        channel.queue_purge(EVENTS_QUEUE)
        channel.queue_bind(EVENTS_QUEUE, EVENTS, "#")
        assert next_message(channel, EVENTS_QUEUE)[1] == b"alive"

    assert outbox.depth() == 0


def test_an_idle_connection_is_kept(rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, proxy: TcpProxy) -> None:
    heartbeat = 2  # the broker gives up who is silent for two of them, which a busy host may make of one
    made = publisher(rabbitmq, outbox, urls=(f"amqp://127.0.0.1:{proxy.port}",), heartbeat=heartbeat)
    with at_work(made):
        began = time.monotonic()
        until(lambda: made.alive_at > began + 3.5 * heartbeat, "some seconds of life, and of AMQP's heartbeats")
        assert made.connected

    assert proxy.accepted == 1


def test_stopping_empties_the_outbox_first(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox, channel: BlockingChannel
) -> None:
    made = publisher(rabbitmq, outbox)
    with at_work(made) as thread:
        for number in range(20):
            outbox.add(b"%d" % number)
        made.stop(60)
        thread.join(30)
        assert not thread.is_alive()

    assert outbox.depth() == 0
    assert told(channel, 20) == [b"%d" % number for number in range(20)]


def test_stopping_without_a_broker_ends_in_time_and_at_once_when_nothing_waits(outbox: MemoryOutbox) -> None:
    for waiting, least in ((b"waits", 1.0), (None, 0.0)):
        outbox.clear()
        if waiting:
            outbox.add(waiting)
        made = RabbitPublisher(NOWHERE, outbox, lambda: ("", b""), NEVER)
        with in_thread(made.run, lambda: made.stop(0)) as thread:  # noqa: B023 - within the loop
            until(lambda: made.trouble != "not connected yet", "it has tried")  # noqa: B023
            asked = time.monotonic()
            made.stop(1)
            thread.join(30)
            assert not thread.is_alive()
            assert least <= time.monotonic() - asked
        assert outbox.depth() == (1 if waiting else 0)


def test_an_outbox_that_can_not_be_read_is_told_once_and_read_again(
    rabbitmq: PrivateRabbitMQ, outbox: MemoryOutbox
) -> None:
    with capture_logs() as lines, at_work(publisher(rabbitmq, outbox)):
        outbox.fault = JournalError(ErrorCode.JOURNAL_UNUSABLE, "the disk is gone", "bring it back")
        outbox.add(b"unread")
        asked = outbox.looked
        until(lambda: outbox.looked > asked + 2, "it was looked at in vain")
        outbox.fault = None
        until(lambda: outbox.depth() == 0, "it is confirmed")

    assert [line["code"] for line in lines if line["log_level"] == "warning"] == ["journal_unusable"]
    assert words(lines, "info") == ["the outbox can be read again"]

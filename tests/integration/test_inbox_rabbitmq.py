"""What becomes of the messages that a real RabbitMQ delivers."""

from __future__ import annotations

import struct
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties
from structlog.testing import capture_logs

from backup_agent.broker.dead_letter import KEPT_BYTES
from backup_agent.broker.topology import COMMANDS, DEAD_LETTER, DELIVERY_LIMIT, command_queue
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.inbox.interface import Refused
from backup_agent.inbox.rabbitmq import RabbitInbox
from tests.faults.waiting import PATIENCE, until
from tests.integration.brokered import Commands, at_work, dead_letter, in_thread, next_message, rest, send, words
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

FLOOD = 8_000
MIB = 1 << 20
REFUSAL = Refused(ErrorCode.INVALID_MESSAGE, "it is not JSON")
FULL = JournalError(ErrorCode.JOURNAL_UNUSABLE, "the disk is full", "make room")


class HeadersNobodyReads(BasicProperties):
    """With a time stamp far beyond any calendar: the broker takes it, and pika cuts the connection."""

    def encode(self) -> list[bytes]:
        table = b"\x04when" + b"T" + struct.pack(">Q", 2**62)
        return [struct.pack(">H", BasicProperties.FLAG_HEADERS), struct.pack(">I", len(table)), table]


def refuse_bad(body: bytes) -> Refused | None:
    return None if body.startswith(b"good") else REFUSAL


@pytest.fixture
def instance() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def channel(rabbitmq: PrivateRabbitMQ) -> Iterator[BlockingChannel]:
    """The sender's, without confirms."""
    with rabbitmq.connect() as connection:
        yield connection.channel()


def test_a_command_is_taken_over_once_and_at_once(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands()
    took: list[float] = []

    with at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        for number in range(50):
            sent = time.monotonic()
            send(channel, instance, b"%d" % number)
            until(lambda: len(commands.taken) > number, "the command is taken over")  # noqa: B023 - called here
            took.append(time.monotonic() - sent)

    assert commands.taken == [b"%d" % number for number in range(50)]
    assert sorted(took)[25] < 10
    assert rest(channel, command_queue(instance)) in ([], [b"49"])


@pytest.mark.parametrize(
    "body", [b"no JSON", b"\xff\xfe\x00", b"", b"x" * MIB], ids=["text", "bytes", "empty", "1 MiB"]
)
def test_a_refused_message_goes_to_the_dead_letters_with_the_reason(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel, body: bytes
) -> None:
    commands = Commands(refuse_bad)
    moment = datetime(2026, 11, 25, 15, 0, 0, tzinfo=UTC)

    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands, now=lambda: moment)):
        send(channel, instance, body, message_id="letter", content_type="text/plain")
        send(channel, instance, b"good")
        headers, kept = dead_letter(channel)
        until(lambda: commands.taken, "the next command is taken over")

    assert kept == body
    assert headers == {
        "x-code": "invalid_message",
        "x-reason": "it is not JSON",
        "x-queue": command_queue(instance),
        "x-time": "2026-11-25T15:00:00Z",
        "x-size": len(body),
        "x-truncated": False,
        "x-message-id": "letter",
    }
    assert words(lines, "warning") == ["a message was refused and goes to the dead letters"]
    assert rest(channel, command_queue(instance)) in ([], [b"good"])


def test_of_a_huge_message_the_first_mebibyte_is_kept(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    body = bytes(range(250)) * 40_000

    with at_work(RabbitInbox(rabbitmq.settings(), instance, Commands(refuse_bad))):
        send(channel, instance, body)
        headers, kept = dead_letter(channel)

    assert kept == body[:KEPT_BYTES]
    assert (headers["x-size"], headers["x-truncated"]) == (10_000_000, True)


def test_a_message_whose_headers_can_not_be_read_is_a_dead_letter_in_the_end(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands()
    with capture_logs(), at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        channel.basic_publish(COMMANDS, instance, b"poison", HeadersNobodyReads())  # type: ignore[no-untyped-call]
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the next command is taken over")

    until(lambda: rabbitmq.depth(channel, DEAD_LETTER) == 1, "the dead letter")
    assert commands.taken == [b"good"]


def test_a_fault_of_the_agent_costs_one_message_and_is_logged_with_its_traceback(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    def stumble(body: bytes) -> Refused | None:
        if body == b"stone":
            raise ZeroDivisionError
        return None

    commands = Commands(stumble)
    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        send(channel, instance, b"stone")
        send(channel, instance, b"good")
        headers, kept = dead_letter(channel)
        until(lambda: commands.taken, "the next command is taken over")

    assert (headers["x-code"], headers["x-reason"], kept) == (
        "internal",
        "a fault of the agent: ZeroDivisionError",
        b"stone",
    )
    assert [line["exc_info"] for line in lines if line["log_level"] == "error"] == [True]


def test_a_command_that_can_not_be_taken_over_now_waits(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    tries: list[float] = []

    def full_at_first(_: bytes) -> None:
        tries.append(time.monotonic())
        if len(tries) < 6:
            raise FULL

    commands = Commands(full_at_first)
    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands)) as thread:
        send(channel, instance, b"first")
        send(channel, instance, b"second")
        until(lambda: len(commands.taken) == 2, "both are taken over")
        assert thread.is_alive()

    assert commands.taken == [b"first", b"second"]
    assert words(lines, "warning") == ["a command can't be taken over now; trying again"]
    assert "commands can be taken over again" in words(lines, "info")
    assert rest(channel, command_queue(instance)) in ([], [b"second"])


def test_what_waits_too_long_is_given_back_and_in_the_end_a_dead_letter(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    tries: list[bytes] = []

    def full(body: bytes) -> None:
        tries.append(body)
        raise FULL

    with at_work(RabbitInbox(rabbitmq.settings(), instance, full, hold=0)):
        send(channel, instance, b"never")
        properties, body = next_message(channel, DEAD_LETTER)

    assert body == b"never"
    assert (properties.headers or {})["x-death"][0]["reason"] == "delivery_limit"
    assert len(tries) == DELIVERY_LIMIT + 1


@pytest.mark.timeout(900)
def test_a_flood_of_bad_messages_neither_fills_memory_nor_hides_the_next_command(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands(refuse_bad)
    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        body = b"x" * 1000
        for _ in range(1000):
            send(channel, instance, body)
        until(lambda: rabbitmq.depth(channel, DEAD_LETTER) == 1000, "the first are buried")
        lines.clear()
        before = psutil.Process().memory_info().rss
        for _ in range(FLOOD - 1000):
            send(channel, instance, body)
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the command behind them is taken over", seconds=800)
        lines.clear()
        grown = psutil.Process().memory_info().rss - before

    assert commands.taken == [b"good"]
    assert grown < 16 * MIB  # the captured log lines are most of it


def test_the_dead_letter_queue_holds_only_the_newest(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands(refuse_bad)
    with at_work(RabbitInbox(rabbitmq.settings(dead_letter_limit=10), instance, commands)):
        for number in range(30):
            send(channel, instance, b"bad %d" % number)
        send(channel, instance, b"good")
        until(lambda: commands.taken, "all are handled")

    until(lambda: rabbitmq.depth(channel, DEAD_LETTER) == 10, "the oldest are dropped")
    assert [dead_letter(channel)[1] for _ in range(10)] == [b"bad %d" % number for number in range(20, 30)]


def test_without_a_dead_letter_queue_the_broker_decides_and_the_agent_goes_on(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands(refuse_bad)
    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        channel.queue_delete(DEAD_LETTER)
        send(channel, instance, b"bad")
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the next command is taken over")

    assert "the broker did not take a dead letter" in words(lines, "warning")


def test_a_queue_with_other_arguments_is_named_and_used_once_it_is_gone(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    channel.queue_declare(command_queue(instance), durable=True)
    inbox = RabbitInbox(rabbitmq.settings(), instance, Commands())

    with capture_logs() as lines, in_thread(inbox.run, inbox.stop):
        until(lambda: "broker_topology" in (inbox.trouble or ""), "the trouble is told")
        assert not inbox.connected
        assert f"the queue {command_queue(instance)}" in (inbox.trouble or "")
        channel.queue_delete(command_queue(instance))
        until(lambda: inbox.connected, "the inbox is connected")
        assert inbox.trouble is None

    assert [line["code"] for line in lines if line["log_level"] == "warning"] == ["broker_topology"]
    assert words(lines, "info") == ["the broker is back"]


def test_who_may_not_declare_waits_for_the_topology(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands()
    inbox = RabbitInbox(rabbitmq.settings(declare=False), instance, commands)

    with in_thread(inbox.run, inbox.stop):
        until(lambda: "broker_topology" in (inbox.trouble or ""), "the trouble is told")
        with at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
            until(lambda: inbox.connected, "the inbox is connected")
        send(channel, instance, b"for whoever is left")
        until(lambda: commands.taken, "the command is taken over")


def test_a_deleted_queue_is_made_again(rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel) -> None:
    commands = Commands()
    inbox = RabbitInbox(rabbitmq.settings(), instance, commands)

    with capture_logs() as lines, at_work(inbox):
        channel.queue_delete(command_queue(instance))
        until(lambda: words(lines, "info") == ["the broker is back"], "the queue is made again")
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the command is taken over")

    assert [line["code"] for line in lines if line["log_level"] == "warning"] == ["broker_topology"]


def test_an_idle_inbox_is_alive(rabbitmq: PrivateRabbitMQ, instance: str) -> None:
    inbox = RabbitInbox(rabbitmq.settings(), instance, Commands())

    with at_work(inbox):
        began = time.monotonic()
        until(lambda: inbox.alive_at > began + 5, "five seconds of life")
        assert inbox.connected


def test_stopping_ends_it_within_a_second_and_returns_what_was_not_taken(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    reached = threading.Event()

    def full(_: bytes) -> None:
        reached.set()
        raise FULL

    inbox = RabbitInbox(rabbitmq.settings(), instance, full)
    with at_work(inbox) as thread:
        send(channel, instance, b"later")
        assert reached.wait(PATIENCE)
        began = time.monotonic()
        inbox.stop()
        thread.join()
        took = time.monotonic() - began

    assert took < 30
    assert not inbox.connected
    until(lambda: rabbitmq.depth(channel, command_queue(instance)) == 1, "the command is back in the queue")
    assert channel.basic_get(command_queue(instance), auto_ack=True)[2] == b"later"

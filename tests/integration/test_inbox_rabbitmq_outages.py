"""A broker that goes away, refuses or falls silent: the inbox comes back by itself, and no command is lost."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from pika.adapters.blocking_connection import BlockingChannel
from structlog.testing import capture_logs

from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import ErrorCode, JournalError
from backup_agent.inbox.interface import Refused
from backup_agent.inbox.rabbitmq import RabbitInbox
from tests.faults.waiting import PATIENCE, until
from tests.integration.brokered import Commands, Line, at_work, dead_letter, in_thread, send, words
from tests.servers.authority import Authority
from tests.servers.mariadb import free_port
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ
from tests.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.server

AWKWARD = "p@ss/w:rd #%?"


@pytest.fixture
def instance() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def channel(rabbitmq: PrivateRabbitMQ) -> Iterator[BlockingChannel]:
    with rabbitmq.connect() as connection:
        yield connection.channel()


@pytest.fixture
def proxy(rabbitmq: PrivateRabbitMQ) -> Iterator[TcpProxy]:
    with TcpProxy(rabbitmq.port) as made:
        yield made


def through(proxy: TcpProxy) -> dict[str, Any]:
    return {"urls": (f"amqp://127.0.0.1:{proxy.port}",)}


def warned_of(lines: Sequence[Line]) -> list[str]:
    return [line["code"] for line in lines if line["log_level"] == "warning" and "code" in line]


def test_a_killed_broker_costs_one_warning_and_no_command(rabbitmq: PrivateRabbitMQ, instance: str) -> None:
    commands = Commands()
    inbox = RabbitInbox(rabbitmq.settings(), instance, commands)

    with capture_logs() as lines, at_work(inbox):
        rabbitmq.settle()
        rabbitmq.kill()
        until(lambda: "broker_unreachable" in (inbox.trouble or ""), "the loss is noticed")
        assert not inbox.connected
        rabbitmq.start()
        with rabbitmq.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()  # or it would go with the channel while the queue still looks for its leader
            send(channel, instance, b"after the crash")
        until(lambda: commands.taken, "the command is taken over")
        assert inbox.trouble is None

    # A broker that is about to end may still answer, and deny.
    assert warned_of(lines)[:1] == ["broker_unreachable"]
    assert len(warned_of(lines)) == len(set(warned_of(lines)))
    assert words(lines, "info") == ["the broker is back"]


def test_a_command_not_yet_acknowledged_when_the_broker_dies_comes_again(
    rabbitmq: PrivateRabbitMQ, instance: str
) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def slow(_: bytes) -> None:
        reached.set()
        goes_on.wait(PATIENCE)

    commands = Commands(slow)
    with at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        rabbitmq.settle()
        with rabbitmq.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            send(channel, instance, b"precious")
        assert reached.wait(PATIENCE)
        rabbitmq.kill()
        goes_on.set()
        rabbitmq.start()
        until(lambda: len(commands.taken) == 2, "it comes again")

    assert commands.taken == [b"precious", b"precious"]


def test_a_connection_that_is_cut_is_made_again(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel, proxy: TcpProxy
) -> None:
    commands = Commands()
    with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(**through(proxy)), instance, commands)):
        for number in range(3):
            proxy.cut()
            command = b"%d" % number
            send(channel, instance, command)
            until(lambda: command in commands.taken, "the command is taken over")  # noqa: B023 - called here
            until(lambda: len(words(lines, "info")) > number, "the connection is back")  # noqa: B023

    assert list(dict.fromkeys(commands.taken)) == [b"0", b"1", b"2"], "in order; one whose ack was lost comes again"
    assert warned_of(lines) == ["broker_unreachable"] * 3


def test_a_broker_that_falls_silent_is_given_up(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel, proxy: TcpProxy
) -> None:
    commands = Commands()
    inbox = RabbitInbox(rabbitmq.settings(**through(proxy), heartbeat=1, connect_timeout=4), instance, commands)

    with at_work(inbox):
        proxy.hold()
        until(lambda: not inbox.connected, "the silence is noticed")
        until(lambda: "no answer in time" in (inbox.trouble or ""), "a new connection is tried")
        assert time.monotonic() - inbox.alive_at < 30
        proxy.release()
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the command is taken over")


def test_a_delivery_held_for_too_long_closes_the_channel_and_comes_again(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    full = threading.Event()
    full.set()

    def when_there_is_room(_: bytes) -> None:
        if full.is_set():
            raise JournalError(ErrorCode.JOURNAL_UNUSABLE, "the disk is full", "make room")

    commands = Commands(when_there_is_room)
    for key, milliseconds in (("consumer_timeout", 1000), ("channel_tick_interval", 500)):
        rabbitmq.ctl("eval", f"application:set_env(rabbit, {key}, {milliseconds}).")
    try:
        with capture_logs() as lines, at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
            send(channel, instance, b"patient")
            until(lambda: "broker_unreachable" in warned_of(lines), "the channel is closed")
            full.clear()
            until(lambda: commands.taken, "the command is taken over")
    finally:
        for key, milliseconds in (("consumer_timeout", 1_800_000), ("channel_tick_interval", 60_000)):
            rabbitmq.ctl("eval", f"application:set_env(rabbit, {key}, {milliseconds}).")

    assert commands.taken == [b"patient"]
    assert any("delivery acknowledgement" in line.get("reason", "") for line in lines)


def test_of_several_brokers_the_first_that_answers_is_taken(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands()
    urls = (f"amqp://127.0.0.1:{free_port()}", rabbitmq.url)

    with at_work(RabbitInbox(rabbitmq.settings(urls=urls), instance, commands)):
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the command is taken over")


def test_a_wrong_password_is_told_without_the_password_and_tried_until_it_is_right(
    rabbitmq: PrivateRabbitMQ, instance: str
) -> None:
    rabbitmq.ctl("add_user", instance, "another")
    rabbitmq.ctl("set_permissions", instance, ".*", ".*", ".*")
    inbox = RabbitInbox(rabbitmq.settings(user=instance, password=AWKWARD), instance, Commands())

    with capture_logs() as lines, in_thread(inbox.run, inbox.stop):
        until(lambda: "broker_denied" in (inbox.trouble or ""), "the refusal is told")
        rabbitmq.ctl("change_password", instance, AWKWARD)
        until(lambda: inbox.connected, "the inbox is connected")

    assert warned_of(lines) == ["broker_denied"]
    assert words(lines, "info") == ["the broker is back"]
    assert AWKWARD not in str(lines)


def test_the_user_and_password_of_a_url_win(rabbitmq: PrivateRabbitMQ, instance: str) -> None:
    url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{rabbitmq.port}/%2F"

    with at_work(RabbitInbox(rabbitmq.settings(urls=(url,), user="nobody", password="wrong"), instance, Commands())):
        pass


def test_a_user_with_the_documented_permissions_is_enough(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    commands = Commands(lambda body: None if body == b"good" else Refused(ErrorCode.INVALID_MESSAGE, "bad"))
    with at_work(RabbitInbox(rabbitmq.settings(), instance, commands)):
        pass  # declares
    rabbitmq.ctl("add_user", instance, "secret")
    rabbitmq.ctl(
        "set_permissions", instance, "^$", r"^backup\.(events|dead-letter)$", rf"^backup\.commands\.{instance}$"
    )

    limited = rabbitmq.settings(user=instance, password="secret", declare=False)
    with at_work(RabbitInbox(limited, instance, commands)):
        send(channel, instance, b"bad")
        send(channel, instance, b"good")
        until(lambda: commands.taken, "the command is taken over")

    assert dead_letter(channel)[1] == b"bad"


def test_an_unknown_virtual_host_is_a_refusal(rabbitmq: PrivateRabbitMQ, instance: str) -> None:
    inbox = RabbitInbox(rabbitmq.settings(urls=(f"{rabbitmq.url}/nowhere",)), instance, Commands())

    with in_thread(inbox.run, inbox.stop):
        until(lambda: "broker_denied" in (inbox.trouble or ""), "the refusal is told")
        assert "nowhere" in (inbox.trouble or "")


def test_tls_with_a_password_and_with_a_certificate(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel, authority: Authority
) -> None:
    commands = Commands()
    certificate, key = authority.client(f"agent-{instance}")
    rabbitmq.ctl("add_user", certificate.stem, "never used")
    rabbitmq.ctl("set_permissions", certificate.stem, ".*", ".*", ".*")
    by_password = rabbitmq.settings(urls=(rabbitmq.tls_url,), ca_file=authority.ca)
    by_certificate = rabbitmq.settings(
        urls=(rabbitmq.tls_url,), ca_file=authority.ca, user=None, password=None, cert_file=certificate, key_file=key
    )

    for number, settings in enumerate((by_password, by_certificate)):
        with at_work(RabbitInbox(settings, instance, commands)):
            command = b"%d" % number
            send(channel, instance, command)
            until(lambda: command in commands.taken, "the command is taken over")  # noqa: B023 - called here


def test_a_broker_whose_certificate_nobody_vouches_for_gets_no_password(
    rabbitmq: PrivateRabbitMQ, instance: str
) -> None:
    inbox = RabbitInbox(rabbitmq.settings(urls=(rabbitmq.tls_url,)), instance, Commands())

    with capture_logs() as lines, in_thread(inbox.run, inbox.stop):
        until(lambda: "certificate" in (inbox.trouble or ""), "the trouble is told")

    assert not inbox.connected
    assert "broker.ca_file" in lines[0]["hint"]


def test_a_broker_without_room_gets_the_dead_letter_when_there_is_room(
    rabbitmq: PrivateRabbitMQ, instance: str, channel: BlockingChannel
) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def refuse_when_full(body: bytes) -> Refused | None:
        reached.set()
        goes_on.wait(PATIENCE)
        return None if body == b"good" else Refused(ErrorCode.INVALID_MESSAGE, "bad")

    commands = Commands(refuse_when_full)
    inbox = RabbitInbox(rabbitmq.settings(), instance, commands)
    with capture_logs() as lines, at_work(inbox):
        send(channel, instance, b"bad")
        send(channel, instance, b"good")
        assert reached.wait(PATIENCE)
        with rabbitmq.without_room():
            goes_on.set()
            until(lambda: "takes no messages" in (inbox.trouble or ""), "the trouble is told")
            assert time.monotonic() - inbox.alive_at < 30
        until(lambda: commands.taken, "the next command is taken over")
        assert inbox.trouble is None

    assert dead_letter(channel)[1] == b"bad"
    assert words(lines, "info") == ["the broker takes messages again"]


@pytest.mark.parametrize("kind", ["refused", "unanswered"])
def test_stopping_ends_it_within_a_second_while_it_tries_to_connect(instance: str, kind: str) -> None:
    with ExitStack() as stack:
        if kind == "unanswered":  # accepts, and says nothing
            port: int = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        else:
            port = free_port()
        settings = BrokerSettings((f"amqp://127.0.0.1:{port}",), "user", "password", connect_timeout=60)
        inbox = RabbitInbox(settings, instance, Commands())
        with in_thread(inbox.run, inbox.stop) as thread:
            began = time.monotonic()
            until(lambda: inbox.alive_at > began + 2, "two seconds of life")
            asked = time.monotonic()
            inbox.stop()
            thread.join()
            assert time.monotonic() - asked < 30

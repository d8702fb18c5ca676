"""What `config check` learns of a real RabbitMQ."""

from __future__ import annotations

import uuid

import pytest

from backup_agent.broker.probe import probe
from backup_agent.broker.topology import command_queue, for_commands
from backup_agent.errors import BrokerError, ErrorCode
from tests.servers.mariadb import free_port
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server


def test_a_broker_that_will_do_is_named(rabbitmq: PrivateRabbitMQ) -> None:
    urls = (f"amqp://127.0.0.1:{free_port()}", rabbitmq.url)

    found = probe(rabbitmq.settings(urls=urls), for_commands(str(uuid.uuid4()), 100))

    assert str(found) == f"127.0.0.1:{rabbitmq.port}"


def test_a_missing_queue_is_named_when_nothing_may_be_made(rabbitmq: PrivateRabbitMQ) -> None:
    instance = str(uuid.uuid4())
    topology = for_commands(instance, 100)
    probe(rabbitmq.settings(), topology)
    with rabbitmq.connect() as connection:
        connection.channel().queue_delete(command_queue(instance))

    with pytest.raises(BrokerError, match=command_queue(instance)) as caught:
        probe(rabbitmq.settings(declare=False), topology)

    assert caught.value.code is ErrorCode.BROKER_TOPOLOGY


def test_every_broker_that_did_not_answer_is_named_and_no_password(rabbitmq: PrivateRabbitMQ) -> None:
    dead = free_port()
    urls = (f"amqp://127.0.0.1:{dead}", f"amqp://agent:hidden@127.0.0.1:{rabbitmq.port}")

    with pytest.raises(BrokerError) as caught:
        probe(rabbitmq.settings(urls=urls), for_commands(str(uuid.uuid4()), 100))

    assert caught.value.code is ErrorCode.BROKER_DENIED
    assert f"127.0.0.1:{dead}: Connection refused" in caught.value.message
    assert f"127.0.0.1:{rabbitmq.port}: ACCESS_REFUSED" in caught.value.message
    assert "hidden" not in caught.value.message + caught.value.hint

"""Fixtures shared by all tests. Servers are real and private; a missing one fails the test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.authority import Authority
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.rabbitmq import PrivateRabbitMQ


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and the programs under test would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[PrivateMariaDB]:
    """A fresh server of this test's own, with the least-privilege user `backup_agent`."""
    with PrivateMariaDB(tmp_path / "mariadb") as server:
        create_agent_user(server)
        yield server


@pytest.fixture(scope="session")
def shared_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """One server for all tests that leave it as they found it."""
    with PrivateMariaDB(tmp_path_factory.mktemp("shared_mariadb")) as server:
        create_agent_user(server)
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Which signed the broker's certificate."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def shared_rabbitmq(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[PrivateRabbitMQ]:
    """One broker for all tests: a start takes some seconds."""
    with PrivateRabbitMQ(tmp_path_factory.mktemp("rabbitmq"), authority=authority) as broker:
        yield broker


@pytest.fixture
def rabbitmq(shared_rabbitmq: PrivateRabbitMQ) -> PrivateRabbitMQ:
    """The shared one, running, without any exchange or queue of ours but those of instances' commands."""
    if not shared_rabbitmq.running:
        shared_rabbitmq.start()
    shared_rabbitmq.forget_topology()
    return shared_rabbitmq

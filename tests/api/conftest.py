"""One API per module of tests, and users of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.fleet import Agent
from tests.api.service import Api, User
from tests.servers.rabbitmq import PrivateRabbitMQ


@pytest.fixture(scope="module")
def broker(shared_rabbitmq: PrivateRabbitMQ) -> PrivateRabbitMQ:
    """The shared one, without what other modules have left."""
    if not shared_rabbitmq.running:
        shared_rabbitmq.start()
    shared_rabbitmq.forget_topology()
    return shared_rabbitmq


PATIENT = {"operations": {"change_wait_s": 60, "list_wait_s": 60}}
"""A busy host's agent may take longer to answer than a user would wait."""


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra=PATIENT) as api:
        yield api
        faults = [line for line in api.log if line["level"] == "error"]
        assert faults == []


@pytest.fixture(scope="module")
def user(api: Api) -> Iterator[User]:
    user = User(api, api.add_token())
    yield user
    user.http.close()


@pytest.fixture
def instance(api: Api) -> str:
    """One of the user's, for this test alone."""
    return api.add_instance()


@pytest.fixture
def agent(broker: PrivateRabbitMQ, instance: str) -> Agent:
    """That instance's."""
    return Agent(broker, instance)

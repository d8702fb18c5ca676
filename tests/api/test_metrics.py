"""What Prometheus is told of the control plane, and what the example alerts ask of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.fleet import Agent
from tests.api.service import Api, User
from tests.faults.waiting import until
from tests.servers.mariadb import free_port
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server
ALERTS = Path(__file__).parents[2] / "config" / "alerts.yml"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    extra = {"metrics": {"port": port}}
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra=extra) as api:
        yield api


def told(port: int, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    return sum(value for found, has, value in scraped(port) if found == name and labels.items() <= has.items())


def scraped(port: int) -> list[tuple[str, dict[str, str], float]]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return [
        (one.name, one.labels, one.value) for family in text_string_to_metric_families(text) for one in family.samples
    ]


def test_the_state_of_backups_agents_and_requests_is_told(port: int, api: Api, user: User, agent: Agent) -> None:
    backup = user.created(agent.instance_id)
    assert user.create(agent.instance_id).status_code == 422
    agent.tell("started", backup, "BUILDING")
    user.await_status(backup["id"], "BUILDING")

    assert told(port, "backup_api_catalogue_readable") == 1
    assert told(port, "backup_api_backups", status="BUILDING") == 1
    assert told(port, "backup_api_instances") == told(port, "backup_api_instances_heard") == 1
    assert told(port, "backup_api_broker_connected") == 1
    assert ("backup_api_operations_unanswered", {}, 0) in scraped(port)
    until(
        lambda: told(port, "backup_api_requests_total", method="POST", status="202") == 1, "what was answered counted"
    )
    until(
        lambda: told(port, "backup_api_requests_total", method="POST", status="422") == 1, "what was answered counted"
    )
    until(lambda: told(port, "backup_api_outbox_commands") == 0, "the command to be sent")
    until(api.healthy, "a healthy API")


def test_the_example_alerts_ask_only_for_metrics_there_are(port: int, user: User, agent: Agent) -> None:
    user.created(agent.instance_id)
    asked = set(re.findall(r"backup_api_\w+", ALERTS.read_text("utf-8")))
    assert asked
    assert asked <= {name for name, _, _ in scraped(port)}

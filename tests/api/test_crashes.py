"""kill -9 at every step between a user, the catalogue and the broker: nothing is lost, and nothing is doubled."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.fleet import Agent, waiting_events
from tests.api.killpoint import POINTS
from tests.api.service import Api, User, lives
from tests.faults.waiting import PATIENCE, until
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server
LAUNCHER = str(Path(__file__).with_name("killpoint.py"))


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Not started yet."""
    broker.forget_topology()
    api = Api(tmp_path_factory.mktemp("api"), broker.url, extra={"http": {"workers": 1}})
    yield api
    api.kill()


@pytest.fixture(scope="module")
def token(api: Api) -> str:
    return api.add_token()


def backups(api: Api, token: str, instance_id: str) -> list[dict[str, str]]:
    """What the API, if it runs, says that there is."""
    url = f"{api.url}/v1.0/1234/instances/{instance_id}/backups"
    try:
        answer = httpx.get(url, headers={"X-Auth-Token": token}, timeout=30)
    except httpx.HTTPError:
        return []
    return list(answer.json()["backups"])


def revived(api: Api) -> bool:
    """Starts the API again when it has been killed."""
    if api.ended:
        api.start()
        return True
    return False


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_it_loses_nothing_and_doubles_nothing(
    api: Api, token: str, agent: Agent, broker: PrivateRabbitMQ, tmp_path: Path, point: str
) -> None:
    api.kill()
    api.launch(prefix=(LAUNCHER, point, str(tmp_path / "killed")))
    begun = len(api.lines("the API is ready"))
    until(lambda: api.ended or api.healthy(), "a healthy API, or none")
    if not api.ended:
        user = User(api, token)
        try:
            user.created(agent.instance_id)
        except httpx.HTTPError:
            until(lambda: api.ended, "the end")
        user.http.close()

    def told() -> bool:
        """Whether the agent has its command, and the API is there."""
        if revived(api) and not backups(api, token, agent.instance_id):
            again = User(api, token)  # what the user would do, who was not answered
            again.created(agent.instance_id)
            again.http.close()
        if agent.has_queue():
            commands.extend(agent.commands())
        return bool(commands)

    commands: list[dict[str, str]] = []
    until(told, "the command")
    shown: list[dict[str, str]] = []

    def is_shown() -> bool:
        """Looked at once: the API may be killed right after it."""
        shown[:] = [] if revived(api) else backups(api, token, agent.instance_id)
        return bool(shown)

    until(is_shown, "the backup")
    (backup,) = shown
    agent.complete(dict(backup))

    def completed() -> bool:
        revived(api)
        return [one["status"] for one in backups(api, token, agent.instance_id)] == ["COMPLETED"]

    until(completed, "the only backup completed")

    def is_back() -> bool:
        """That an event was taken over may be seen before the kill that follows."""
        revived(api)
        return len(api.lines("the API is ready")) > begun

    until(is_back, "the kill, and the next start")
    assert (tmp_path / "killed").exists()
    until(completed, "the only backup completed, after the kill too")
    until(lambda: waiting_events(broker) == 0, "all events taken over")
    commands.extend(agent.commands())
    assert {one["data"]["backup"]["id"] for one in commands} == {backup["id"]}  # type: ignore[index]
    assert len({one["id"] for one in commands}) == 1


def test_a_process_that_dies_is_started_again(api: Api) -> None:
    api.kill()
    api.start()
    before = api.processes()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(api.processes()) == len(before) and not set(before) & set(api.processes()), "new processes")
    until(api.healthy, "a healthy API")
    assert len(api.lines("a process of the API has died")) >= len(before)


def test_all_processes_end_with_the_first(api: Api) -> None:
    if api.ended:
        api.start()
    children = api.processes()
    assert len(children) == 2
    assert api.process is not None
    api.process.kill()
    api.process.wait()
    until(lambda: not any(lives(pid) for pid in children), "the end of all")


def test_a_stop_answers_the_requests_under_way_and_ends_well(api: Api, token: str) -> None:
    if api.ended:
        api.start()
    body = b'{"backup": {"name": "last", "instance": "%s"}}' % api.add_instance("last").encode()
    head = (
        f"POST /v1.0/1234/backups HTTP/1.1\r\nHost: api\r\nX-Auth-Token: {token}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert api.process is not None
    with socket.create_connection(("127.0.0.1", urlsplit(api.url).port), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # said when it is about to read the body
        api.process.terminate()
        until(lambda: not accepts(api), "no new connections")
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")
    assert api.process.wait(PATIENCE) == 0


def accepts(api: Api) -> bool:
    try:
        with httpx.Client() as http:
            http.get(f"{api.url}/", timeout=5)
    except httpx.HTTPError:
        return False
    return True

"""Operations that are not waited for; and a thousand hostile names, of which none becomes a fault."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from backup_agent.domain.administration import Reserved, database_fault, user_fault
from backup_agent.inbox.wire import parse_command
from tests.api.fleet import Agent, new_id
from tests.api.service import Api, User
from tests.api.test_operations import operation, path
from tests.api.test_requests import JSON, fault
from tests.faults.waiting import until
from tests.hostile import HOSTILE
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

UNWAITED = {"operations": {"change_wait_s": 0, "list_wait_s": 0}}


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra=UNWAITED) as api:
        yield api
        assert [line for line in api.log if line["level"] == "error"] == []


def test_a_change_that_is_not_answered_soon_is_asked_for_and_can_be_looked_up(user: User, agent: Agent) -> None:
    answer = user.http.post(path(agent, "databases"), json={"databases": [{"name": "shop"}]})
    assert (answer.status_code, answer.text) == (202, "")
    assert operation(user, agent, answer)["status"] == "ASKED"
    (command,) = agent.await_commands(1)
    assert command["id"] == answer.headers["X-Operation-ID"]
    error = {"code": "database_exists", "message": "there is one", "hint": "h", "status": 400}
    agent.answer(command, "REJECTED", error=error)
    until(lambda: operation(user, agent, answer)["status"] == "REJECTED", "the answer")
    assert operation(user, agent, answer)["error"] == {
        "code": "database_exists",
        "message": "there is one",
        "hint": "h",
    }
    assert fault(user.http.get(path(agent, "operations", new_id()))) == (404, "itemNotFound")
    assert fault(user.http.get(path(agent, "operations", "x"))) == (404, "itemNotFound")


def test_a_list_that_is_not_answered_in_time_is_unavailable(user: User, agent: Agent) -> None:
    for what in ("databases", "users"):
        assert fault(user.http.get(path(agent, what))) == (503, "serviceUnavailable")


def test_a_thousand_hostile_names_are_sent_as_they_are_or_refused(
    user: User, agent: Agent, api: Api, broker: PrivateRabbitMQ
) -> None:
    """Each goes one of four ways; all ways are tried without a server in tests/unit/api."""

    def ask(number: int, name: str) -> int:
        way, body, _ = WAYS[number % len(WAYS)]
        if body is None:
            whole = name if way == "databases" else f"{name}@%"
            encoded = quote(whole.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2e")
            return user.http.delete(path(agent, way, encoded)).status_code
        text = json.dumps({way: [{"name": name, **body}]})
        return user.http.post(path(agent, way), content=text, headers=JSON).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(len(HOSTILE)), HOSTILE))
    assert set(answers) <= {202, 400, 404}
    taken = [name for name, answer in zip(HOSTILE, answers, strict=True) if answer == 202]
    assert taken == [name for number, name in enumerate(HOSTILE) if WAYS[number % len(WAYS)][2](name)]
    assert len(taken) > 50
    sent = agent.await_commands(len(taken))
    for command in sent:
        parse_command(json.dumps(command).encode())
    assert Counter(name_in(command["data"]) for command in sent) == Counter(taken)
    with broker.connect() as connection:
        assert broker.depth(connection.channel(), "backup.dead-letter") == 0
    assert "internal error" not in api.text


def allowed(fault: Callable[..., str | None], *, new: bool) -> Callable[[str], bool]:
    return lambda name: fault(name, Reserved(), new=new) is None


WAYS: tuple[tuple[str, dict[str, Any] | None, Callable[[str], bool]], ...] = (
    ("databases", {}, allowed(database_fault, new=True)),
    ("databases", None, allowed(database_fault, new=False)),
    ("users", {"password": "a password"}, allowed(user_fault, new=True)),
    ("users", None, allowed(user_fault, new=False)),
)
"""Where to, with what beside the name (nothing to delete it), and whether that is allowed."""


def name_in(data: dict[str, Any]) -> str:
    (one,) = data.get("databases") or data.get("users") or [data]
    return str(one["name"])

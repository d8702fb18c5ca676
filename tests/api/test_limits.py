"""How much one account may have and ask."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.service import Api, User
from tests.api.test_requests import fault, message
from tests.faults.waiting import until
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server
LIMITS = {"backups_per_account": 3, "get_per_minute": 1000, "post_per_minute": 30, "delete_per_minute": 1}


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra={"limits": LIMITS}) as api:
        yield api


def test_an_account_has_no_more_backups_than_it_may_however_many_are_asked_for_at_once(api: Api) -> None:
    user = User(api, api.add_token("quota"), "quota")
    instances = [api.add_instance(f"db{number}", "quota") for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(user.create, instances))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [413] * 9
    refused = next(answer for answer in answers if answer.status_code == 413)
    assert fault(refused) == (413, "overLimit")
    assert message(refused) == "Quota exceeded for resource backups: the account may have 3."
    assert "Retry-After" not in refused.headers
    user.http.close()


def test_who_asks_too_often_is_told_when_to_come_back_by_whichever_worker(api: Api) -> None:
    user = User(api, api.add_token("eager"), "eager")
    unknown = api.add_instance("db", "nobody")
    answers: list[httpx.Response] = []

    def too_often() -> bool:
        """A slow host may take so long to ask forty times that more are allowed meanwhile."""
        with ThreadPoolExecutor(10) as pool:  # on several connections, which the workers share
            answers.extend(pool.map(lambda _: user.create(unknown), range(40)))
        return any(answer.status_code == 413 for answer in answers)

    until(too_often, "a refusal")
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:30] == [404] * 30
    assert set(statuses) == {404, 413}
    limited = next(answer for answer in answers if answer.status_code == 413)
    assert fault(limited) == (413, "overLimit")
    assert 1 <= int(limited.headers["Retry-After"]) <= 2
    assert user.http.get("/backups").status_code == 200
    user.http.close()


def test_the_limits_say_what_is_left(api: Api) -> None:
    user = User(api, api.add_token("curious"), "curious")
    user.http.delete("/backups/x")
    first, *rates = user.http.get("/limits").json()["limits"]
    assert first == {"verb": "ABSOLUTE", "max_backups": 3}
    assert [(rate["verb"], rate["unit"], rate["value"]) for rate in rates] == [
        ("GET", "MINUTE", 1000),
        ("POST", "MINUTE", 30),
        ("DELETE", "MINUTE", 1),
    ]
    assert rates[2]["remaining"] == 0
    assert fault(user.http.delete("/backups/x")) == (413, "overLimit")
    user.http.close()

"""How often an account may ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from backup_agent.api.faults import Fault
from backup_agent.api.rates import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., RateLimiter]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes limiters, with a clock that stands unless another is given."""
    with ExitStack() as stack:

        def made(per_minute: dict[str, int], clock: Clock | None = None) -> RateLimiter:
            return stack.enter_context(closing(RateLimiter(per_minute, clock or Clock())))

        yield made


def admitted(limiter: RateLimiter, account: str = "1234", verb: str = "GET") -> bool:
    try:
        limiter.admit(verb, account)
    except Fault:
        return False
    return True


def test_the_allowance_can_be_used_at_once_and_comes_back_evenly(make: Make) -> None:
    clock = Clock()
    limiter = make({"GET": 60}, clock)
    assert [admitted(limiter) for _ in range(61)] == [True] * 60 + [False]
    clock.now += 1
    assert [admitted(limiter) for _ in range(2)] == [True, False]
    clock.now += 60
    assert limiter.left("GET", "1234") == 60


def test_it_says_when_to_come_back(make: Make) -> None:
    clock = Clock()
    limiter = make({"POST": 2}, clock)
    for _ in range(2):
        limiter.admit("POST", "1234")
    with pytest.raises(Fault, match="2 POST requests a minute") as caught:
        limiter.admit("POST", "1234")
    assert (caught.value.status, caught.value.headers) == (413, {"Retry-After": "30"})


def test_accounts_and_verbs_do_not_use_up_each_others(make: Make) -> None:
    limiter = make({"GET": 1, "POST": 1})
    assert [admitted(limiter), admitted(limiter, "4321"), admitted(limiter, verb="POST")] == [True] * 3
    assert [admitted(limiter), admitted(limiter, "4321"), admitted(limiter, verb="POST")] == [False] * 3


def test_a_verb_without_a_limit_is_not_limited(make: Make) -> None:
    limiter = make({"GET": 1})
    assert all(admitted(limiter, verb="PUT") for _ in range(10))


def test_what_is_left_is_told_without_using_it_up(make: Make) -> None:
    limiter = make({"GET": 3})
    limiter.admit("GET", "1234")
    assert [limiter.left("GET", "1234") for _ in range(3)] == [2, 2, 2]
    assert limiter.left("GET", "4321") == 3


def test_processes_that_were_forked_count_together(make: Make) -> None:
    limiter = make({"GET": 10})
    for _ in range(3):
        child = os.fork()
        if child == 0:
            for _ in range(3):
                limiter.admit("GET", "1234")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert limiter.left("GET", "1234") == 1


def test_ten_thousand_accounts_do_not_make_one_forget_another_of_the_same_minute(make: Make) -> None:
    clock = Clock()
    limiter = make({"GET": 1}, clock)
    refused = sum(not admitted(limiter, f"account {number}") for number in range(5000))
    again = sum(admitted(limiter, f"account {number}") for number in range(5000))
    assert refused == 0
    assert again < 50  # neighbourhoods that were full

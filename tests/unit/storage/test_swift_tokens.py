"""When one token for all threads is replaced, on a clock of the test's own."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.swift_login import Login
from backup_agent.storage.swift_tokens import Tokens
from tests.faults.waiting import until

DOWN = TransientStoreError(ErrorCode.STORE_UNREACHABLE, "keystone is away", "Wait.")
DENIED = StoreError(ErrorCode.STORE_DENIED, "the key is wrong", "Mend it.")


class Desk:
    """Gives tokens that are good for `lifetime` seconds, or what it is told to raise."""

    def __init__(self, lifetime: float = 1000) -> None:
        self.lifetime = lifetime
        self.now = 0.0
        self.logins = 0
        self.failure: StoreError | None = None
        self.open = threading.Event()
        self.open.set()
        self.tokens = Tokens(self._log_in, clock=lambda: self.now)

    def _log_in(self) -> Login:
        self.logins += 1
        self.open.wait(30)
        if self.failure is not None:
            raise self.failure
        return Login(f"token-{self.logins}", "http://store/v1/AUTH_x", self.lifetime)

    @property
    def current(self) -> str:
        return self.tokens.current().token


def test_a_token_is_used_until_a_part_of_its_life_is_left() -> None:
    desk = Desk(lifetime=1000)

    seen = []
    for desk.now in (0, 500, 879, 881, 1000, 1700, 1762):
        seen.append(desk.current)

    assert seen == ["token-1"] * 3 + ["token-2"] * 3 + ["token-3"]


def test_a_token_of_a_short_life_is_not_renewed_all_the_time() -> None:
    desk = Desk(lifetime=2)

    seen = []
    for desk.now in (0, 1, 1.9, 2.1, 4.0, 4.2):
        seen.append(desk.current)

    assert seen == ["token-1"] * 3 + ["token-2"] * 2 + ["token-3"]


def test_a_token_nobody_knows_the_end_of_is_used_until_it_is_refused() -> None:
    desk = Desk(lifetime=math.inf)
    first = desk.tokens.current()
    desk.now = 1e9

    assert desk.tokens.current() is first
    assert desk.tokens.renewed(first).token == "token-2"
    assert desk.tokens.renewed(first).token == "token-2"
    assert desk.current == "token-2"


def test_a_renewal_that_could_wait_fails_unnoticed_and_is_tried_again_after_a_while() -> None:
    desk = Desk(lifetime=1000)
    assert desk.current == "token-1"
    desk.failure = DOWN

    for desk.now in (900, 901, 902, 907):
        assert desk.current == "token-1"
    assert desk.logins == 3

    desk.now = 1001
    with pytest.raises(TransientStoreError, match="keystone is away"):
        desk.tokens.current()
    desk.failure = None
    assert desk.current == "token-5"


def test_a_key_that_is_no_longer_good_is_told_at_the_first_renewal() -> None:
    desk = Desk(lifetime=1000)
    assert desk.current == "token-1"
    desk.failure, desk.now = DENIED, 900

    with pytest.raises(StoreError, match="the key is wrong"):
        desk.tokens.current()


@pytest.mark.parametrize("failure", [None, DOWN])
def test_threads_that_wait_for_a_renewal_share_what_comes_of_it(failure: StoreError | None) -> None:
    desk = Desk()
    first = desk.tokens.current()
    desk.failure = failure
    desk.open.clear()
    begun = [threading.Event() for _ in range(8)]

    def renewed(mine: threading.Event) -> str:
        mine.set()
        try:
            return desk.tokens.renewed(first).token
        except TransientStoreError as error:
            return error.message

    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(renewed, one) for one in begun]
        assert all(one.wait(30) for one in begun)
        until(lambda: desk.logins == 2, "a login")
        desk.open.set()
        said = {end.result() for end in ends}

    if failure is None:
        assert (said, desk.logins) == ({"token-2"}, 2)
    else:
        assert said == {"keystone is away"}
        assert desk.logins < 8


def test_others_go_on_with_the_old_token_while_one_renews_it_early() -> None:
    desk = Desk(lifetime=1000)
    assert desk.current == "token-1"
    desk.now = 900
    desk.open.clear()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(lambda: desk.current)
        until(lambda: desk.logins == 2, "a login")

        assert desk.current == "token-1"

        desk.open.set()
        assert renewing.result() == "token-2"
    assert desk.current == "token-2"


def test_a_token_shows_in_no_representation() -> None:
    assert "token-1" not in repr(Desk().tokens.current())

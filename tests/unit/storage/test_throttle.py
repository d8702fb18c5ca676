from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator, TransientStoreError
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.throttle import Bandwidth, ThrottledStore
from tests.unit.storage.scripted import ScriptedStore

STOPPED = InterruptedByOperator(ErrorCode.INTERRUPTED, "stopped by SIGTERM", "Start it again.")
RATE = 1000
CREDIT = RATE // 4
SECONDS = 30.0


class FakeTime(Cancellation):
    """Waits pass at once, and a little late, as real ones do; `cancel_after` seconds of them, the work is stopped."""

    def __init__(self, *, cancel_after: float | None = None) -> None:
        super().__init__()
        self.now = 500.0
        self.waits: list[float] = []
        self._cancel_at = None if cancel_after is None else self.now + cancel_after

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        end = self.now + seconds
        if self._cancel_at is not None and end >= self._cancel_at:
            self.now = self._cancel_at
            self.cancel(STOPPED)
        else:
            self.now = end
        return self.cancelled

    def clock(self) -> float:
        return self.now


class TimedStore(ScriptedStore):
    """Remembers when a request for a body came, and may take its time for it."""

    def __init__(self, fake_time: FakeTime, script: str = "", *, takes: float = 0.0) -> None:
        super().__init__(script)
        self._time = fake_time
        self._takes = takes
        self.times: list[float] = []

    def _act(self, key: str) -> None:
        self.times.append(self._time.now - 500.0)
        self._time.now += self._takes
        super()._act(key)


def throttled(store: ScriptedStore, fake_time: FakeTime, bandwidth: Bandwidth | None = None) -> ThrottledStore:
    return ThrottledStore(store, bandwidth or Bandwidth(RATE, clock=fake_time.clock), cancellation=fake_time)


def test_an_object_is_put_when_there_was_time_for_it() -> None:
    fake_time = FakeTime()
    store = TimedStore(fake_time)
    limited = throttled(store, fake_time)

    for number in range(4):
        limited.put(f"k{number}", bytes(5000))

    assert store.times == pytest.approx([4.75, 9.75, 14.75, 19.75])


def test_small_objects_need_not_wait_after_idleness() -> None:
    fake_time = FakeTime()
    limited = throttled(ScriptedStore(), fake_time)

    limited.put("k", bytes(CREDIT))
    fake_time.now += 3600
    limited.put("k", bytes(CREDIT))

    assert fake_time.waits == []


def test_idleness_is_made_up_for_by_a_quarter_of_a_second_and_no_more() -> None:
    fake_time = FakeTime()
    limited = throttled(ScriptedStore(), fake_time)
    fake_time.now += 3600

    limited.put("k", bytes(CREDIT + RATE))

    assert fake_time.waits == pytest.approx([1.0])


def test_a_body_that_was_got_holds_back_the_next_one() -> None:
    fake_time = FakeTime()
    store = TimedStore(fake_time)
    store.objects = {"k": bytes(5000)}
    limited = throttled(store, fake_time)

    assert [len(limited.get("k", limit=limit)) for limit in (1 << 30, 2000, 5000)] == [5000, 2000, 5000]

    assert store.times == pytest.approx([0, 4.75, 6.75])
    assert fake_time.now - 500 == pytest.approx(11.75)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda store: store.prepare("box"),
        lambda store: store.delete("k"),
        lambda store: list(store.list("")),
        lambda store: list(store.children("k/")),
    ],
    ids=["prepare", "delete", "list", "children"],
)
def test_what_moves_no_body_never_waits(request_of: Callable[[ThrottledStore], object]) -> None:
    fake_time = FakeTime()
    bandwidth = Bandwidth(RATE, clock=fake_time.clock)
    bandwidth.book(1 << 30)

    request_of(throttled(ScriptedStore(), fake_time, bandwidth))

    assert fake_time.waits == []


def test_all_stores_share_the_bandwidth() -> None:
    fake_time = FakeTime()
    bandwidth = Bandwidth(RATE, clock=fake_time.clock)
    stores = [TimedStore(fake_time) for _ in range(2)]

    for store in stores:
        throttled(store, fake_time, bandwidth).put("k", bytes(5000))

    assert [store.times for store in stores] == [pytest.approx([4.75]), pytest.approx([9.75])]


def test_threads_together_keep_to_the_bandwidth() -> None:
    """However they interleave: what is booked by n threads is spread over the time of all."""
    bandwidth = Bandwidth(RATE, clock=lambda: 0.0)
    booked: list[float] = []
    threads = [threading.Thread(target=lambda: booked.extend(bandwidth.book(100) for _ in range(50))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert sorted(booked) == pytest.approx([0.1 * number - 0.25 for number in range(1, 401)])


def test_a_cancellation_ends_the_wait_and_nothing_is_put() -> None:
    fake_time = FakeTime(cancel_after=3)
    store = ScriptedStore()

    with pytest.raises(InterruptedByOperator):
        throttled(store, fake_time).put("k", bytes(3_600_000))

    assert store.tries == 0
    assert fake_time.now - 500 == 3


def test_a_real_wait_ends_when_it_is_cancelled() -> None:
    cancellation = Cancellation()
    limited = ThrottledStore(ScriptedStore(), Bandwidth(1), cancellation=cancellation)
    caught: list[BaseException] = []

    def put() -> None:
        try:
            limited.put("k", bytes(1 << 20))
        except InterruptedByOperator as error:
            caught.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    cancellation.cancel(STOPPED)
    thread.join(SECONDS)

    assert [type(error) for error in caught] == [InterruptedByOperator]


def retrying(store: ScriptedStore, fake_time: FakeTime) -> RetryingStore:
    limited = throttled(store, fake_time)
    return RetryingStore(limited, give_up_after=10, cancellation=fake_time, clock=limited.clock, fraction=lambda: 0.0)


def test_waiting_for_bandwidth_is_no_time_of_trying_and_each_try_counts_anew() -> None:
    fake_time = FakeTime()
    store = TimedStore(fake_time, "eeS")

    retrying(store, fake_time).put("k", bytes(3_600_000))

    assert store.tries == 3
    assert store.times == pytest.approx([3599.75, 2 * 3600 - 0.25, 3 * 3600 - 0.25])


def test_a_store_that_stays_away_is_given_up_by_the_time_of_trying() -> None:
    fake_time = FakeTime()
    store = TimedStore(fake_time, "e" * 100, takes=4)

    with pytest.raises(TransientStoreError, match="gave up after 3 tries"):
        retrying(store, fake_time).put("k", bytes(3_600_000))


def test_a_bandwidth_that_lets_nothing_through_is_refused() -> None:
    for rate in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="lets nothing through"):
            Bandwidth(rate)

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator, MissingError, StoreError, TransientStoreError
from backup_agent.storage.retry import Retry, RetryingStore
from tests.unit.storage.scripted import ScriptedStore

STOPPED = InterruptedByOperator(ErrorCode.INTERRUPTED, "stopped by SIGTERM", "Start it again.")


class FakeTime(Cancellation):
    """Waits pass at once; `cancel_after` seconds of them, the operator stops the work."""

    def __init__(self, *, cancel_after: float | None = None) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []
        self._cancel_at = None if cancel_after is None else self.now + cancel_after

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        if self._cancel_at is not None and self.now >= self._cancel_at:
            self.cancel(STOPPED)
        return self.cancelled


def retrying(
    store: ScriptedStore,
    fake_time: FakeTime,
    *,
    give_up_after: float = 60,
    on_retry: Callable[[Retry], None] | None = None,
    fraction: float = 0.0,
) -> RetryingStore:
    return RetryingStore(
        store,
        give_up_after=give_up_after,
        cancellation=fake_time,
        on_retry=on_retry,
        clock=lambda: fake_time.now,
        fraction=lambda: fraction,
    )


def test_what_succeeds_at_once_is_tried_once() -> None:
    store = ScriptedStore()

    retrying(store, FakeTime()).put("k", b"x")

    assert store.tries == 1
    assert store.objects == {"k": b"x"}


@pytest.mark.parametrize("script", ["eeS", "ecS", "eeeeS"])
def test_what_may_pass_is_tried_until_it_has(script: str) -> None:
    store = ScriptedStore(script)
    again = retrying(store, FakeTime())

    again.put("k", b"x")

    assert store.tries == len(script)
    store.script = "e"
    assert again.get("k", limit=9) == b"x"
    store.script = "e"
    again.prepare("box")
    store.script = "e"
    again.delete("k")
    assert store.objects == {}


def test_what_will_not_pass_is_not_tried_again() -> None:
    store = ScriptedStore("ed")

    with pytest.raises(StoreError) as caught:
        retrying(store, FakeTime()).put("k", b"x")

    assert caught.value.code is ErrorCode.STORE_DENIED
    assert store.tries == 2
    with pytest.raises(MissingError):
        retrying(store, FakeTime()).get("k", limit=9)
    assert store.tries == 3


def test_the_waits_double_from_a_tenth_of_a_second_to_ten_seconds() -> None:
    fake_time = FakeTime()

    retrying(ScriptedStore("e" * 10), fake_time, give_up_after=600).put("k", b"x")

    assert fake_time.waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])


def test_chance_shortens_a_wait_by_up_to_a_half() -> None:
    fake_time = FakeTime()

    retrying(ScriptedStore("e" * 4), fake_time, fraction=1.0).put("k", b"x")

    assert fake_time.waits == pytest.approx([0.05, 0.1, 0.2, 0.4])


def test_it_gives_up_rather_than_begin_a_try_after_the_bound() -> None:
    fake_time = FakeTime()
    store = ScriptedStore("e" * 100)

    with pytest.raises(TransientStoreError) as caught:
        retrying(store, fake_time, give_up_after=30).put("k", b"x")

    assert caught.value.code is ErrorCode.STORE_UNREACHABLE
    assert caught.value.message == "e at k (gave up after 9 tries in 22.7 s)"
    assert caught.value.hint == "Try again."
    assert fake_time.now - 1000 <= 30


def test_the_time_a_try_takes_counts() -> None:
    fake_time = FakeTime()

    class SlowStore(ScriptedStore):
        def _act(self, key: str) -> None:
            fake_time.now += 20
            super()._act(key)

    store = SlowStore("e" * 100)

    with pytest.raises(TransientStoreError):
        retrying(store, fake_time, give_up_after=30).put("k", b"x")

    assert store.tries == 2


def test_with_no_time_it_tries_once_and_says_no_more_than_the_store() -> None:
    store = ScriptedStore("e")

    with pytest.raises(TransientStoreError) as caught:
        retrying(store, FakeTime(), give_up_after=0).put("k", b"x")

    assert store.tries == 1
    assert caught.value.message == "e at k"


def test_each_retry_is_told() -> None:
    told: list[Retry] = []

    retrying(ScriptedStore("ec"), FakeTime(), on_retry=told.append).put("k", b"x")

    assert [(retry.operation, retry.key, retry.attempt, retry.wait_s, retry.error.code) for retry in told] == [
        ("put", "k", 1, 0.1, ErrorCode.STORE_UNREACHABLE),
        ("put", "k", 2, 0.2, ErrorCode.UPLOAD_CORRUPT),
    ]


def test_a_cancellation_during_a_wait_ends_the_work_with_its_reason() -> None:
    fake_time = FakeTime(cancel_after=0.25)
    store = ScriptedStore("e" * 100)

    with pytest.raises(InterruptedByOperator) as caught:
        retrying(store, fake_time).put("k", b"x")

    assert caught.value.message == STOPPED.message
    assert store.tries == 2


def test_after_a_cancellation_nothing_is_tried() -> None:
    fake_time = FakeTime()
    fake_time.cancel(STOPPED)
    store = ScriptedStore("S")
    again = retrying(store, fake_time)

    with pytest.raises(InterruptedByOperator):
        again.delete("k")
    with pytest.raises(InterruptedByOperator):
        list(again.list("p/"))

    assert store.tries == 0


def test_a_listing_hands_out_every_entry_once_whenever_it_failed() -> None:
    store = ScriptedStore()
    keys = [f"box/i{number:04d}/b/x" for number in range(2500)]
    store.objects = dict.fromkeys(keys, b"x")
    again = retrying(store, FakeTime())

    for script in ("e", "Se", "S" * 700 + "e", "S" * 1500 + "e", "S" * 2400 + "ee", "S" * 2500 + "e" + "S" * 999 + "e"):
        store.script = script
        assert [entry.key for entry in again.list("box/")] == keys
        store.script = script
        assert list(again.children("box/")) == [f"i{number:04d}" for number in range(2500)]


def test_children_resume_in_the_order_of_keys() -> None:
    names = [f"{number:04d}{suffix}" for number in range(1200) for suffix in ("-x", "")]  # `-` sorts before `/`
    store = ScriptedStore("S" * 1300 + "e")
    store.objects = dict.fromkeys([f"{name}/x" for name in names], b"x")

    assert list(retrying(store, FakeTime()).children("")) == names


def test_objects_deleted_while_they_are_listed_do_not_disturb() -> None:
    store = ScriptedStore()
    keys = [f"box/{number:04d}" for number in range(2500)]
    store.objects = dict.fromkeys(keys, b"x")
    again = retrying(store, FakeTime())

    listed = []
    for entry in again.list("box/"):
        listed.append(entry.key)
        again.delete(entry.key)
        if len(listed) % 1000 == 999:
            store.script = "SSe"

    assert listed == keys


def test_a_listing_that_stands_still_is_given_up_but_one_that_goes_on_is_not() -> None:
    store = ScriptedStore()
    store.objects = {f"box/{number:04d}": b"x" for number in range(2500)}
    fake_time = FakeTime()
    again = retrying(store, fake_time, give_up_after=1)

    listed = []
    for entry in again.list("box/"):
        listed.append(entry.key)
        if len(listed) in (500, 1500):
            store.script = "eee"
            fake_time.now += 3600

    assert len(listed) == 2500
    store.script = "e" * 100
    with pytest.raises(TransientStoreError):
        list(again.list("box/"))


def test_it_says_where_the_wrapped_store_is() -> None:
    assert retrying(ScriptedStore(), FakeTime()).url == "scripted://store"


class AskingStore(ScriptedStore):
    """Fails in a way that may pass, and asks for so many seconds of rest."""

    def __init__(self, *rests: float) -> None:
        super().__init__()
        self._rests = list(rests)

    def _act(self, key: str) -> None:
        super()._act(key)
        if self._rests:
            rest = self._rests.pop(0)
            raise TransientStoreError(ErrorCode.STORE_UNREACHABLE, f"busy at {key}", "Wait.", retry_after_s=rest)


def test_a_store_that_asks_for_rest_gets_it() -> None:
    fake_time = FakeTime()

    retrying(AskingStore(7, 0, 3), fake_time).put("k", b"x")

    assert fake_time.waits == pytest.approx([7, 0.2, 3])


def test_a_store_that_asks_for_more_rest_than_there_is_time_is_asked_once_more_at_the_end() -> None:
    fake_time = FakeTime()
    store = AskingStore(3600)

    retrying(store, fake_time, give_up_after=60).put("k", b"x")

    assert fake_time.waits == pytest.approx([60])
    stubborn = AskingStore(3600, 3600, 3600)
    with pytest.raises(TransientStoreError, match="gave up after 2 tries in 60"):
        retrying(stubborn, FakeTime(), give_up_after=60).put("k", b"x")


class Chunk(bytearray):
    """One that can be seen to be gone."""


class Clinging(ScriptedStore):
    """Its errors are in a cycle with the frame that has the body, as those of libraries are."""

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        try:
            super().put(key, body, sha256=sha256, once=once)
        except TransientStoreError as error:
            cause = error
            raise TransientStoreError(error.code, f"can't put {len(body)} bytes: {cause}", error.hint) from cause


class Returning(ScriptedStore):
    """Hands its errors on by `return`, as botocore does: the one who gets it is in no traceback."""

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        error = self._get_response(key, body, sha256=sha256, once=once)
        if error is not None:
            raise error

    def _get_response(
        self, key: str, body: bytes | bytearray, *, sha256: str | None, once: bool
    ) -> TransientStoreError | None:
        error = self._send(lambda: super(Returning, self).put(key, body, sha256=sha256, once=once))
        return error  # noqa: RET504 - held by a local, as there

    @staticmethod
    def _send(send: Callable[[], None]) -> TransientStoreError | None:
        try:
            send()
        except TransientStoreError as error:
            return error
        return None


@pytest.mark.parametrize("kind", [Clinging, Returning])
def test_what_a_failed_try_held_is_let_go_without_a_search_for_garbage(kind: type[ScriptedStore]) -> None:
    chunk = Chunk(b"x")
    left = weakref.ref(chunk)
    gc.disable()
    try:
        retrying(kind("eeS"), FakeTime()).put("k", chunk)
        del chunk
        assert left() is None
    finally:
        gc.enable()

"""A store that tries again: a wrapper, so that no store has to."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from backup_agent.cancellation import Cancellation
from backup_agent.errors import TransientStoreError
from backup_agent.storage.interface import Store, StoredObject

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0
_BATCH = 1000  # entries of a listing fetched at a time: a page of S3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """A try that failed, and after how many seconds the next one comes. `attempt` counts from 1."""

    operation: str
    key: str
    attempt: int
    wait_s: float
    error: TransientStoreError


class RetryingStore:
    """Implements `Store` by another one; TransientStoreError makes it try again, every other error passes through.

    A request is given up when the next try would begin more than `give_up_after` seconds after the first one began; 0
    tries once. A try that is under way is not interrupted: the store's own time-outs bound it. The waits grow from
    0.1 s to 10 s, each shortened at random by up to a half. A store that says how long it wants to be left alone
    (`retry_after_s`) is left alone for so long, or, if that is longer than there is time, asked once more at the end.

    Cancelling ends a wait at once and raises the reason, and no further try is made: what cleans up after a
    cancellation needs a store with a cancellation of its own. A listing goes on after the last entry it handed out, and
    each step of it has its own time. `on_retry` is called in the thread that
    waits.
    """

    def __init__(
        self,
        store: Store,
        *,
        give_up_after: float,
        cancellation: Cancellation,
        on_retry: Callable[[Retry], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        """`fraction` returns a random number from 0 to 1."""
        self._store = store
        self._give_up_after = give_up_after
        self._cancellation = cancellation
        self._on_retry = on_retry
        self._clock = clock
        self._fraction = fraction

    @property
    def url(self) -> str:
        return self._store.url

    def prepare(self, container: str) -> None:
        self._try("prepare", container, lambda: self._store.prepare(container))

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        self._try("put", key, lambda: self._store.put(key, body, sha256=sha256, once=once))

    def get(self, key: str, *, limit: int) -> bytes:
        return self._try("get", key, lambda: self._store.get(key, limit=limit))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._resume("list", prefix, self._store.list, lambda entry: entry.key)

    def children(self, prefix: str) -> Iterator[str]:
        return self._resume("list", prefix, self._store.children, lambda name: f"{name}/")

    def delete(self, key: str) -> None:
        self._try("delete", key, lambda: self._store.delete(key))

    def _try(self, operation: str, key: str, request: Callable[[], T]) -> T:
        self._cancellation.check()
        began = self._clock()

        def announce(state: RetryCallState) -> None:
            self._cancellation.check()
            error = _error_of(state)
            if self._on_retry is not None:
                self._on_retry(Retry(operation, key, state.attempt_number, state.upcoming_sleep, error))
            _let_go(error)

        def is_over(state: RetryCallState) -> bool:
            return self._clock() - began + state.upcoming_sleep > self._give_up_after

        return Retrying(
            retry=retry_if_exception_type(TransientStoreError),
            wait=lambda state: self._wait_after(state, self._give_up_after - (self._clock() - began)),
            stop=is_over,
            before_sleep=announce,
            sleep=self._sleep,
            retry_error_callback=lambda state: self._give_up(state, self._clock() - began),
        )(request)

    def _wait_after(self, state: RetryCallState, left: float) -> float:
        """`left` is how many seconds are left."""
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(state.attempt_number - 1, 10))
        wait = longest * (1 - self._fraction() / 2)
        asked = _error_of(state).retry_after_s
        return wait if asked is None else max(wait, min(asked, left))

    def _sleep(self, seconds: float) -> None:
        self._cancellation.wait(seconds)
        self._cancellation.check()

    def _give_up(self, state: RetryCallState, seconds: float) -> NoReturn:
        self._cancellation.check()
        error = _error_of(state)
        if state.attempt_number == 1:
            raise error
        raise TransientStoreError(
            error.code, f"{error.message} (gave up after {state.attempt_number} tries in {seconds:.1f} s)", error.hint
        ) from error

    def _resume(
        self, operation: str, prefix: str, listing: Callable[[str], Iterator[T]], key_of: Callable[[T], str]
    ) -> Iterator[T]:
        last = ""
        entries: Iterator[T] | None = None

        def fetch() -> tuple[T, ...]:
            nonlocal entries
            if entries is None:
                after = last
                entries = (entry for entry in listing(prefix) if key_of(entry) > after)
            try:
                return tuple(islice(entries, _BATCH))
            except TransientStoreError:
                entries = None
                raise

        while batch := self._try(operation, prefix, fetch):
            yield from batch
            last = key_of(batch[-1])


def _let_go(error: BaseException) -> None:
    """Of what the frames of a failed try hold, such as a chunk: they are in a cycle with their error, and would keep it
    beyond the try that succeeds, until somebody looks for garbage.

    To clear the frames of the tracebacks would not do: these keep their callers too, which are in no traceback where a
    library hands an error on by `return`, as botocore does.
    """
    seen: list[BaseException] = []
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None and link not in seen:
            seen.append(link)
            link.__traceback__ = None
            links += (link.__cause__, link.__context__)


def _error_of(state: RetryCallState) -> TransientStoreError:
    error = None if state.outcome is None else state.outcome.exception()
    if not isinstance(error, TransientStoreError):
        msg = "tenacity retries nothing but TransientStoreError"
        raise TypeError(msg)
    return error

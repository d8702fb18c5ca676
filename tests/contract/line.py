"""A bucket, and a line to it on which faults can be played."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import (
    StoreError,
    TransientStoreError,
)
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.s3 import S3Store
from tests.servers.faultproxy import (
    FaultProxy,
    answered,
)

T = TypeVar("T")

KEY = "box/instance/backup/chunk-00000000.zst"
MIB = 1 << 20
SMALL = b"x" * 1000
LARGE = bytes(range(256)) * (16 * MIB // 256)
TIMEOUT_S = 1.5
"""Of who waits for a store that is silent by the script. One that is only slow, because the host is busy, must not be
taken for it: all else has PATIENT_S.
"""
PATIENT_S = 60.0
E503 = answered(503, "ServiceUnavailable")


def patient_with_swift(store: Store) -> Store:
    """Swift's S3 closes a connection after headers that it has refused, perhaps with the next request on its way."""
    return RetryingStore(store, give_up_after=PATIENT_S, cancellation=Cancellation())


class ImpatientOfSilence(StoreInFront):
    """Impatient as long as the proxy's script lets it wait in vain, and patient otherwise."""

    def __init__(self, proxy: FaultProxy, impatient: Store, patient: Store) -> None:
        super().__init__(patient)
        self._proxy = proxy
        self._impatient = impatient

    @property
    def _store(self) -> Store:
        return self._impatient if self._proxy.falls_silent else super()._store


@dataclass
class Line:
    """A bucket on the real server, seen directly and through the proxy."""

    bucket: str
    proxy: FaultProxy
    direct: S3Store
    faulty: Store
    impatient: Store
    """The same, for silence that is not in the script, and for a store that is slow."""
    retries: list[Retry] = field(default_factory=list)

    def retrying(self, give_up_after: float = 2 * PATIENT_S, cancellation: Cancellation | None = None) -> RetryingStore:
        return RetryingStore(
            self.faulty,
            give_up_after=give_up_after,
            cancellation=cancellation or Cancellation(),
            on_retry=self.retries.append,
        )


def with_some_time_out(attempt: Callable[[float], T]) -> T:
    """What `attempt` returns when it is called with a time-out. With longer ones if need be: on a busy host, somebody
    who works steadily may be still for as long as a short one.
    """
    for timeout_s in (TIMEOUT_S, 4 * TIMEOUT_S):
        try:
            return attempt(timeout_s)
        except TransientStoreError:
            continue
    return attempt(16 * TIMEOUT_S)


def failure(request: Callable[[], Any]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        request()
    assert caught.value.hint
    assert "secret-key" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


class _Body(bytearray):
    """One that can be seen to be gone."""


def failed_tries(store: RetryingStore, retries: list[Retry]) -> int:
    """How many tries failed, by `retries`, before a body was put. Nothing holds it then, with no search for garbage."""
    body = _Body(LARGE)
    left = weakref.ref(body)
    gc.disable()
    logging.disable()  # pytest keeps botocore's records, with their arguments, where a test has turned debugging on
    try:
        store.put(KEY, body)
        failed = len(retries)
        retries.clear()  # their errors have the requests
        del body
        assert left() is None
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()
    return failed

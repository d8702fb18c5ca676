"""A bucket, and a line to it on which faults can be played."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import (
    StoreError,
)
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.s3 import S3Store
from tests.servers.faultproxy import (
    FaultProxy,
    answered,
)

KEY = "box/instance/backup/chunk-00000000.zst"
MIB = 1 << 20
SMALL = b"x" * 1000
LARGE = bytes(range(256)) * (16 * MIB // 256)
TIMEOUT_S = 1.5
"""A store that is only slow, on a host that is busy, must not be taken for a silent one."""
E503 = answered(503, "ServiceUnavailable")


@dataclass
class Line:
    """A bucket on the real server, seen directly and through the proxy."""

    bucket: str
    proxy: FaultProxy
    direct: S3Store
    faulty: S3Store
    retries: list[Retry] = field(default_factory=list)

    def retrying(self, give_up_after: float = 20, cancellation: Cancellation | None = None) -> RetryingStore:
        return RetryingStore(
            self.faulty,
            give_up_after=give_up_after,
            cancellation=cancellation or Cancellation(),
            on_retry=self.retries.append,
        )


def failure(request: Callable[[], Any]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        request()
    assert caught.value.hint
    assert "secret-key" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


class _Body(bytearray):
    """One that can be seen to be gone."""


def is_let_go_by(put: Callable[[bytearray], None]) -> bool:
    """Whether nothing holds the body that `put` was given when it has returned. Nobody searches for garbage."""
    body = _Body(LARGE)
    left = weakref.ref(body)
    gc.disable()
    try:
        put(body)
        del body
        return left() is None
    finally:
        gc.enable()

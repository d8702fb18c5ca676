"""Waiting for conditions, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which a condition will not come any more, also on a host where all takes ten times as long."""


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Returns as soon as `condition` is true; fails, saying that `what` did not come, when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)

"""How long to wait before the next try. Decides; does not wait."""

from __future__ import annotations

from collections.abc import Callable

_FIRST_S = 0.1
_DOUBLINGS = 30  # beyond, any limit is reached


class Backoff:
    """Exponential from 0.1 s, with full jitter: a fleet that lost the same broker comes back spread out."""

    def __init__(self, longest: float, fraction: Callable[[], float]) -> None:
        """`longest` is in seconds; `fraction` returns a random number from 0 to 1."""
        self._longest = longest
        self._fraction = fraction
        self._tries = 0

    def next(self) -> float:
        """Seconds."""
        ceiling = min(self._longest, _FIRST_S * 2.0**self._tries)
        self._tries = min(self._tries + 1, _DOUBLINGS)
        return ceiling * self._fraction()

    def reset(self) -> None:
        self._tries = 0

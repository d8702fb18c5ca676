"""One page of a list that is in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from backup_agent.domain.instance_command import Listing

T = TypeVar("T")


def page(everything: Sequence[T], key: Callable[[T], str], asked: Listing) -> tuple[Sequence[T], str | None]:
    """What comes after the marker, and the marker of the page after that, None for the last one. `key` is by which
    they are in order.
    """
    rest = [one for one in everything if asked.marker is None or key(one) > asked.marker]
    now = rest[: asked.limit]
    return now, key(now[-1]) if len(rest) > len(now) else None

"""What the objects of one backup are, by the part of their keys behind the backup's own prefix."""

from __future__ import annotations

import re
from enum import IntEnum


class ObjectKind(IntEnum):
    """In the order in which they are removed: without its manifest the rest is no backup."""

    MANIFEST = 0
    SIGNATURE = 1
    VERIFICATION = 2
    PIN = 3
    CHUNK = 4
    MARKER = 5
    """The sign of life of whoever takes the backup."""


_NAMES = {
    ObjectKind.MANIFEST: r"manifest\.json",
    ObjectKind.SIGNATURE: r"manifest\.json\.sig",
    ObjectKind.VERIFICATION: r"verify/[^/]+\.json",
    ObjectKind.PIN: r"pin",
    ObjectKind.CHUNK: r"chunk-\d{8}(\.[a-z0-9]+)*",
    ObjectKind.MARKER: r"attempt-\d{8}\.json",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _NAMES.items()}


def kind_of(name: str) -> ObjectKind | None:
    """None for what is not ours: somebody else put it there."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(name)), None)

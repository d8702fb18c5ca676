"""A fingerprint of the binary log's bytes before a position: proof that this data directory has lived through it.

A data directory that was put back in place (a copy over the old files, a snapshot of its volume) keeps every identity,
and its LSN and GTID may be ahead of the parent's again by the time anybody looks. Its binary log can't be the same:
events carry the time at which they were written.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_TAIL = 64 << 10
_HEADER_AT = 4
_FLAGS_AT = 21
_FLAGS_END = 23
"""The first event's flags: the only bytes that a server changes later, when it closes the file."""


def digest(file: Path, position: int) -> str | None:
    """SHA-256, in hex, of the first event's header and the last 64 KiB before `position`; None without a readable file.

    A file that ends before `position` has another digest than one that does not.
    """
    start = max(_FLAGS_END, position - _TAIL)
    try:
        with file.open("rb") as opened:
            head = opened.read(_FLAGS_AT)[_HEADER_AT:]
            opened.seek(start)
            tail = opened.read(max(0, position - start))
    except OSError:
        return None
    return hashlib.sha256(b"%d:%d:" % (position, len(tail)) + head + tail).hexdigest()

"""The bytes of a message, from a file, a pipe or standard input."""

from __future__ import annotations

import os
import sys
import threading

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.inbox.wire import LIMIT

_BLOCK = 1 << 16
_TICK = 0.1
"""Seconds between two looks at the cancellation."""


def read_message(source: str, cancellation: Cancellation) -> bytes:
    """At most a little more than LIMIT bytes of the file `source`, `-` being standard input.

    Read in a thread of its own, which is left to its fate when the cancellation comes: a signal whose handler returns
    does not end a read, and a pipe may never say anything. Raises RejectedError (`invalid_request`).
    """
    found: list[bytes | OSError] = []
    reader = threading.Thread(target=lambda: found.append(_read(source)), name="message", daemon=True)
    reader.start()
    while reader.is_alive():
        cancellation.check()
        reader.join(_TICK)
    content = found[0]
    if isinstance(content, OSError):
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            f"can't read the message {source}: {content.strerror}",
            "Name a readable file, or - for standard input.",
        ) from content
    return content


def _read(source: str) -> bytes | OSError:
    try:
        if source == "-":
            return _read_descriptor(sys.stdin.fileno())
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_descriptor(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error


def _read_descriptor(descriptor: int) -> bytes:
    """Unbuffered, because a thread left in a buffered read would hold its lock when the interpreter ends."""
    content = bytearray()
    while len(content) <= LIMIT and (block := os.read(descriptor, _BLOCK)):
        content += block
    return bytes(content)

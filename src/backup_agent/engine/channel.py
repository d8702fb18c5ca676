"""What the engine's bytes go through: a pair of sockets, one way, which takes the place of a pipe.

A pipe takes the memory for its bytes page by page: 190 MB took 200 ms through one, and 85 ms through a pair of Unix
sockets (medians of seven on 2 cores). While tables are locked, writers wait for just that. To both ends it is a
stream of bytes as from a pipe; but a reader that goes away with bytes unread is told to the writer as
ConnectionResetError, and not as BrokenPipeError.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Final

_BUFFER: Final = 1 << 20
"""Bytes that may be on their way; the kernel grants what net.core.wmem_max allows, 416 KiB by default."""


def reader() -> AbstractContextManager[tuple[IO[bytes], int]]:
    """Our end to read from, and the descriptor of the other one, for a child that is started in the block."""
    receiving, sending = _one_way()
    return _given(receiving, "rb", sending)


def writer() -> AbstractContextManager[tuple[IO[bytes], int]]:
    """Our end to write to, and the descriptor of the other one, for a child that is started in the block."""
    receiving, sending = _one_way()
    return _given(sending, "wb", receiving)


def _one_way() -> tuple[socket.socket, socket.socket]:
    receiving, sending = socket.socketpair()
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    receiving.shutdown(socket.SHUT_WR)
    return receiving, sending


@contextmanager
def _given(ours: socket.socket, mode: str, theirs: socket.socket) -> Iterator[tuple[IO[bytes], int]]:
    """Leaves their end to the child alone, and nothing at all when it could not be started."""
    file = os.fdopen(ours.detach(), mode, buffering=0)
    with theirs:
        try:
            yield file, theirs.fileno()
        except BaseException:
            file.close()
            raise

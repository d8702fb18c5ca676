"""A TCP proxy that holds all its connections together to a rate, each way. Started by path, as its own process.

Prints its port when it listens, and ends when its standard input does. Knows no protocol.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

_BLOCK = 1 << 16
_BURST_SECONDS = 0.02


class Bucket:
    """Lets `rate` bytes a second through, however many threads ask."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size: int) -> None:
        """Returns when `size` bytes may go."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST_SECONDS) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


def _carry(source: socket.socket, sink: socket.socket, bucket: Bucket) -> None:
    try:
        while block := source.recv(_BLOCK):
            bucket.take(len(block))
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so shall be the other, also for the thread that carries the other way
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, upstream_port: int, up: Bucket, down: Bucket) -> None:
    try:
        upstream = socket.create_connection(("127.0.0.1", upstream_port))
    except OSError:
        client.close()
        return
    with client, upstream:
        answers = threading.Thread(target=_carry, args=(upstream, client, down), daemon=True)
        answers.start()
        _carry(client, upstream, up)
        answers.join()


def main(upstream_port: int, rate: float) -> int:
    up, down = Bucket(rate), Bucket(rate)
    listener = socket.socket()
    # Or megabytes would be in the kernel's buffers before a client felt the rate; accepted sockets inherit it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, upstream_port, up, down), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))

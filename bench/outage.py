"""A TCP proxy that breaks down once: it hangs, then refuses, then works again. Started by path, as its own process.

Prints its port when it listens, and ends when its standard input does. Knows no protocol.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

_BLOCK = 1 << 16


class Line:
    """The connections of now, and whether anything passes."""

    def __init__(self, after: int, seconds: float) -> None:
        """Breaks down when `after` bytes have gone up; half of the `seconds` it hangs, half of them it refuses."""
        self._after = after
        self._seconds = seconds
        self._carried = 0
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._passes = threading.Event()
        self._passes.set()
        self.refuses = threading.Event()
        self.works = threading.Event()
        self.works.set()

    def connected(self, *ends: socket.socket) -> None:
        with self._lock:
            self._ends.update(ends)

    def gone(self, *ends: socket.socket) -> None:
        with self._lock:
            self._ends.difference_update(ends)

    def went_up(self, size: int) -> None:
        with self._lock:
            before, self._carried = self._carried, self._carried + size
        if before < self._after <= self._carried:
            self._passes.clear()
            threading.Thread(target=self._break_down, daemon=True).start()

    def wait(self) -> None:
        """Returns when bytes may pass."""
        self._passes.wait()

    def _break_down(self) -> None:
        time.sleep(self._seconds / 2)
        self.works.clear()
        self.refuses.set()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._passes.set()
        time.sleep(self._seconds / 2)
        self.works.set()


def _carry(source: socket.socket, sink: socket.socket, line: Line, *, up: bool) -> None:
    try:
        while block := source.recv(_BLOCK):
            if up:
                line.went_up(len(block))
            line.wait()
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so shall be the other, also for the thread that carries the other way
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, upstream_port: int, line: Line) -> None:
    with client, socket.create_connection(("127.0.0.1", upstream_port)) as upstream:
        line.connected(client, upstream)
        answers = threading.Thread(target=_carry, args=(upstream, client, line), kwargs={"up": False}, daemon=True)
        answers.start()
        _carry(client, upstream, line, up=True)
        answers.join()
        line.gone(client, upstream)


def _accept(listener: socket.socket, upstream_port: int, line: Line) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed by the one who refuses
            return
        threading.Thread(target=_serve, args=(client, upstream_port, line), daemon=True).start()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _keep_listening(listener: socket.socket, upstream_port: int, line: Line) -> None:
    port = listener.getsockname()[1]
    threading.Thread(target=_accept, args=(listener, upstream_port, line), daemon=True).start()
    line.refuses.wait()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    line.works.wait()
    _accept(_listen(port), upstream_port, line)


def main(upstream_port: int, after: int, seconds: float) -> int:
    line = Line(after, seconds)
    listener = _listen(0)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_keep_listening, args=(listener, upstream_port, line), daemon=True).start()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

"""An HTTP proxy in front of a store that does to requests what a test has scripted.

A script is a list of steps; each request takes the next one. What happens to an exchange is written with `Exchange`'s
few verbs, so that a test can also make up a fault of its own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

_BLOCK = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_NOT_FORWARDED = {"connection", "expect", "transfer-encoding"}


class Exchange(BaseHTTPRequestHandler):
    """One request, in a thread of its own, until a step has answered or dropped it."""

    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def request_body(self, *, rate: float | None = None) -> Iterator[bytes]:
        """In blocks, at most `rate` bytes a second. Invites the body first where the client waits for that."""
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        left = int(self.headers.get("Content-Length", 0))
        while left and (block := self.rfile.read(min(left, _BLOCK))):
            left -= len(block)
            if rate is not None:
                self.proxy.pause(len(block) / rate)
            yield block

    def forward(self, *, upload_rate: float | None = None) -> tuple[int, dict[str, str], bytes]:
        """Takes the whole request and asks the server behind; its status, headers and body."""
        body = b"".join(self.request_body(rate=upload_rate))
        connection = HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _NOT_FORWARDED:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _NOT_FORWARDED}
            return response.status, headers, response.read()

    def reply_head(self, status: int, headers: Mapping[str, str], size: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        whole = {name.lower(): value for name, value in headers.items()}.get("content-length", len(body))
        self.reply_head(status, headers, int(whole) if self.command == "HEAD" else len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self, *, reset: bool) -> None:
        """Ends the connection, by a reset (RST) or as if all were said (FIN)."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def handle_expect_100(self) -> bool:
        return True  # the step decides whether the body is wanted

    def log_message(self, *_: object) -> None:
        """Silent: the test looks at `FaultProxy.requests`."""

    def _act(self) -> None:
        self.proxy.requests.append(f"{self.command} {self.path}")
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            self.proxy.next_step()(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _act  # noqa: N815 - http.server's names


Step = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class Silent:
    """A step whose client waits in vain."""

    step: Step

    def __call__(self, exchange: Exchange) -> None:
        self.step(exchange)


class FaultProxy:
    """Serves on a loopback port while its context is open. Requests beyond the script get `otherwise`."""

    def __init__(self, upstream_port: int, *, certificate: Path | None = None) -> None:
        """With a `certificate` (a PEM file, its key included) it speaks TLS to its clients."""
        self.upstream_port = upstream_port
        self._scheme = "http" if certificate is None else "https"
        self.requests: list[str] = []
        """What was asked, such as `PUT /bucket/key`."""
        self.otherwise: Step = passed()
        self._script: deque[Step] = deque()
        self._closed = threading.Event()
        exchange = type("ExchangeOfProxy", (Exchange,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), exchange)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def play(self, *steps: Step) -> None:
        """The next requests' steps."""
        self._script.extend(steps)

    @property
    def falls_silent(self) -> bool:
        """Whether a step of the script lets its client wait in vain."""
        return any(isinstance(step, Silent) for step in self._script)

    def forget(self) -> None:
        """Ends the script: from now on everything passes. Exchanges under way go on as scripted."""
        self._script.clear()
        self.requests.clear()
        self.otherwise = passed()

    def next_step(self) -> Step:
        return self._script.popleft() if self._script else self.otherwise

    def pause(self, seconds: float | None) -> None:
        """None lasts until the proxy is closed, which ends every pause."""
        self._closed.wait(seconds)


def passed(*, upload_rate: float | None = None, download_rate: float | None = None) -> Step:
    """Forwards; the rates are in bytes a second."""

    def step(exchange: Exchange) -> None:
        status, headers, body = exchange.forward(upload_rate=upload_rate)
        if download_rate is None:
            exchange.reply(status, headers, body)
            return
        exchange.reply_head(status, headers, len(body))
        for start in range(0, len(body), _BLOCK):
            exchange.wfile.write(body[start : start + _BLOCK])
            exchange.proxy.pause(_BLOCK / download_rate)

    return step


def answered(
    status: int,
    code: str = "",
    *,
    body: bytes | None = None,
    message: str = "as scripted",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Step:
    """An S3 error that the server behind never hears of. A client that waits for an invitation sends no body."""
    xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    def step(exchange: Exchange) -> None:
        if exchange.headers.get("Expect"):
            exchange.close_connection = True
        else:
            _discard(exchange.request_body())
        exchange.reply(status, {"Content-Type": "application/xml", **headers}, xml if body is None else body)

    return step


def altered(*, without: Collection[str] = (), **headers: str) -> Step:
    """Forwards, and changes headers of the answer; those named in lower case in `without` are left away first."""

    def step(exchange: Exchange) -> None:
        status, answer, body = exchange.forward()
        kept = {name: value for name, value in answer.items() if name.lower() not in without}
        exchange.reply(status, {**kept, **headers}, body)

    return step


def upload_cut(after: int) -> Step:
    """Takes so many bytes of the request's body, then resets the connection. The server behind gets what there was."""

    def step(exchange: Exchange) -> None:
        got = bytearray()
        for piece in exchange.request_body():
            got += piece
            if len(got) >= after:
                break
        head = "\r\n".join([exchange.requestline, *(f"{name}: {value}" for name, value in exchange.headers.items())])
        with socket.create_connection(("127.0.0.1", exchange.proxy.upstream_port)) as upstream:
            upstream.sendall(head.encode("latin-1") + b"\r\n\r\n" + got[:after])
        exchange.drop(reset=True)

    return step


def download_cut(after: int, *, then: Literal["reset", "close", "silence"]) -> Step:
    """Announces the whole answer, but sends only so many bytes of its body."""

    def step(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.reply_head(status, headers, len(body))
        exchange.wfile.write(body[:after])
        if then == "silence":
            exchange.proxy.pause(None)
        exchange.drop(reset=then != "close")

    return Silent(step) if then == "silence" else step


def unanswered() -> Step:
    """Takes the whole request and stays silent; the server behind never hears of it."""

    def step(exchange: Exchange) -> None:
        _discard(exchange.request_body())
        exchange.proxy.pause(None)
        exchange.drop(reset=True)

    return Silent(step)


def answer_lost() -> Step:
    """The server behind carries the request out, but the client is never told."""

    def step(exchange: Exchange) -> None:
        exchange.forward()
        exchange.drop(reset=True)

    return step


def _discard(body: Iterator[bytes]) -> None:
    for _ in body:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], exchange: type[Exchange]) -> None:
        super().__init__(address, exchange)
        self.daemon_threads = False  # server_close() waits for them
        # Or megabytes would be in the kernel's buffers before the client felt how slowly it is read.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]  # typeshed allows UDP's pairs too
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # the same
        """Without the shutdown of socketserver's own, which would send FIN before a reset."""
        with self._lock:
            self._open.discard(request)
        self.close_request(request)

    def drop_connections(self) -> None:
        """Wakes the threads that wait for a next request."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

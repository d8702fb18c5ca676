"""Publishes in bulk, on a connection of its own: what is put between two flushes leaves in one piece.

So a simulated fleet takes a fraction of the CPU that one call of pika for each message takes, on cores that it shares
with what is measured. What it does not do: wait for confirms, or listen to the broker after it is connected.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import TypeVar

from pika import frame, spec
from pika.amqp_object import Method

from backup_agent.broker.topology import EVENTS
from backup_agent.report.wire import CONTENT_TYPE
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ

T = TypeVar("T", bound=Method)

_CHANNEL = 1
_LASTING, _PASSING = 2, 1
_WAIT_S = 60.0
_RECEIVE = 1 << 16


class Publisher:
    """Not safe from several threads. Raises OSError when the broker is gone."""

    def __init__(self, broker: PrivateRabbitMQ) -> None:
        self.count = 0
        """Messages put so far."""
        self._left: list[bytes] = []
        self._socket = socket.create_connection(("127.0.0.1", broker.port), _WAIT_S)
        self._received = b""
        self._socket.sendall(frame.ProtocolHeader().marshal())
        self._expect(spec.Connection.Start)
        login = f"\0{USER}\0{PASSWORD}".encode()
        self._say(0, spec.Connection.StartOk(client_properties={}, response=login))  # type: ignore[no-untyped-call]
        tune = self._expect(spec.Connection.Tune)
        self._say(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, heartbeat=0))  # type: ignore[no-untyped-call]
        self._say(0, spec.Connection.Open("/"))  # type: ignore[no-untyped-call]
        self._expect(spec.Connection.OpenOk)
        self._say(_CHANNEL, spec.Channel.Open())  # type: ignore[no-untyped-call]
        self._expect(spec.Channel.OpenOk)

    def put(self, routing_key: str, body: bytes, *, lasting: bool = True) -> None:
        """To the exchange of events; sent by the next `flush`. The body fits into one frame."""
        self._left += (_method(routing_key), _header(len(body), lasting=lasting), frame.Body(_CHANNEL, body).marshal())
        self.count += 1

    def flush(self) -> None:
        """Waits when the broker does not take more."""
        if self._left:
            self._socket.sendall(b"".join(self._left))
            self._left.clear()

    def close(self) -> None:
        self._socket.close()

    def _say(self, channel: int, method: Method) -> None:
        self._socket.sendall(frame.Method(channel, method).marshal())

    def _expect(self, kind: type[T]) -> T:
        while (answer := self._next()) is None:
            more = self._socket.recv(_RECEIVE)
            if not more:
                raise ConnectionError("the broker has closed the connection")
            self._received += more
        if not isinstance(answer, kind):
            raise ConnectionError(f"the broker said {answer} instead of {kind.__name__}")
        return answer

    def _next(self) -> Method | None:
        """The next method that has come as a whole."""
        used, found = frame.decode_frame(self._received)
        self._received = self._received[used:]
        return found.method if isinstance(found, frame.Method) else None


@cache
def _method(routing_key: str) -> bytes:
    method = spec.Basic.Publish(exchange=EVENTS, routing_key=routing_key)  # type: ignore[no-untyped-call]
    return frame.Method(_CHANNEL, method).marshal()


@cache
def _header(size: int, *, lasting: bool) -> bytes:
    mode = _LASTING if lasting else _PASSING
    properties = spec.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=mode)  # type: ignore[no-untyped-call]
    return frame.Header(_CHANNEL, size, properties).marshal()

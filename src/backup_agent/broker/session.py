"""One try at one endpoint: from the first packet until the connection is lost or left.

What it does not do: try again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import AbstractAMQPConnectionWorkflow
from pika.channel import Channel

from backup_agent.broker import failures
from backup_agent.broker.confirms import Confirms
from backup_agent.broker.connection import Connection, half_open_connection, parameters
from backup_agent.broker.endpoint import Endpoint
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import Part, Topology
from backup_agent.errors import BrokerError

log = structlog.get_logger(__name__)

_BEAT_EVERY = 1.0
_ABANDON_S = 0.1
_GIVE_UP_AGAIN_S = 0.05
_GOODBYE_S = 0.4
"""How long a broker may take to say goodbye: one that is blocked never does."""


class Work(Protocol):
    """What is done on a connection. Called in its thread; quick, for nothing else happens there meanwhile."""

    def begin(self, session: Session) -> None:
        """The channel is open, confirms are on and the topology stands. Calls `session.settled` when all is well."""
        ...

    def end(self) -> None:
        """The channel is gone, whatever for. Called once after each `begin`."""
        ...


class Session:
    """`run` belongs to one thread, which does everything; from others only `post` and `leave` may be called."""

    def __init__(
        self,
        endpoint: Endpoint,
        settings: BrokerSettings,
        topology: Topology,
        work: Work,
        *,
        name: str,
        beat: Callable[[], None],
        on_settled: Callable[[], None],
        on_blocked: Callable[[bool], None],
    ) -> None:
        """`beat` is called every half second as long as the thread is not stuck, `on_blocked` when the broker has
        stopped taking messages, or takes them again.
        """
        self.endpoint = endpoint
        self.was_settled = False
        self.blocked = False
        self._settings = settings
        self._topology = topology
        self._work = work
        self._name = name
        self._beat = beat
        self._on_settled = on_settled
        self._on_blocked = on_blocked
        self._loop = IOLoop()
        self._connection: Connection | None = None
        self._opening: AbstractAMQPConnectionWorkflow | None = None
        self._asked = ""
        self._begun = False
        self._leaving = False
        self._error: BrokerError | None = None
        self._patient_until = float("inf")
        self.channel: Channel
        self.confirms: Confirms

    def run(self) -> BrokerError | None:
        """Returns why the connection was not made or was lost; None when it was left as `leave` asked."""
        try:
            self._tick()
            self._connect()
            self._loop.start()
        except BrokerError as error:
            return error
        except Exception:
            log.exception("a fault on the connection to the broker", broker=str(self.endpoint))
            return failures.unreachable(self.endpoint, "a fault of this program ended the connection")
        finally:
            self._end_work()
            self._close()
        return self._error

    def post(self, function: Callable[[], None]) -> None:
        """Runs it in the session's thread, soon; never when the session ends before."""
        self._loop.add_callback_threadsafe(function)

    def leave(self) -> None:
        """Ends the session, with the broker's consent if it gives it soon."""
        self.post(self._leave)

    def settled(self) -> None:
        self.was_settled = True
        self._on_settled()

    def fail(self, error: BrokerError) -> None:
        """Ends the session with `error`, unless it has one already. For its own thread."""
        if not self._leaving:
            self._error = self._error or error
            self._leave()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Calls it then, in the session's thread, if there still is a session. For its own thread."""
        self._loop.call_later(seconds, function)

    def _connect(self) -> None:
        self._opening = Connection.create_connection(
            [parameters(self.endpoint, self._settings, self._name)], self._on_opened, custom_ioloop=self._loop
        )

    def _block(self, blocked: bool) -> None:  # noqa: FBT001 - what the broker said
        self.blocked = blocked
        self._on_blocked(blocked)

    def _on_opened(self, result: object) -> None:
        """`result` is the connection, or why there is none; an exception's class when it was given up."""
        self._opening = None
        if not isinstance(result, Connection):
            self._on_gone(None, result if isinstance(result, BaseException) else ConnectionAbortedError())
            return
        self._connection = result
        result.add_on_close_callback(self._on_gone)
        result.add_on_connection_blocked_callback(lambda *_: self._block(True))
        result.add_on_connection_unblocked_callback(lambda *_: self._block(False))
        self._asked = "opening a channel"
        self._patient_until = time.monotonic() + self._settings.blocked_timeout
        result.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        self.channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        self.confirms = Confirms(channel, lambda _: self._declare(list(reversed(self._topology))))

    def _declare(self, left: list[Part]) -> None:
        if left:
            part = left.pop()
            self._asked = str(part)
            part.declare(self.channel, lambda _: self._declare(left), passive=not self._settings.declare)
            return
        self._asked = ""
        self._begun = True
        self._work.begin(self)

    def _on_channel_closed(self, channel: Channel, error: Exception) -> None:
        """Closed by the broker, the connection stays open; both are made anew."""
        del channel
        self._end_work()
        if self._connection is not None and self._connection.is_open:
            self.fail(failures.of_channel(self.endpoint, self._asked, error))

    def _on_gone(self, connection: object, error: BaseException) -> None:
        del connection
        if not self._leaving:
            self._error = self._error or failures.of_connection(self.endpoint, error)
        self._loop.stop()

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._end_work()
        self._loop.call_later(_GOODBYE_S, self._abandon)
        if self._opening is not None:
            self._give_up_opening()
        elif self._connection is None or self._connection.is_closed:
            self._loop.stop()
        elif not self._connection.is_closing:
            self._connection.close()

    def _give_up_opening(self) -> None:
        """Again until it has ended: the host's next address may be under way by then."""
        if self._opening is None:
            return
        half_open = half_open_connection(self._opening)
        if half_open is None:
            self._opening.abort()
            return
        if not half_open.is_closing and not half_open.is_closed:
            half_open.close()
        self._loop.call_later(_GIVE_UP_AGAIN_S, self._give_up_opening)

    def _abandon(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        self._loop.call_later(_ABANDON_S, self._loop.stop)

    def _end_work(self) -> None:
        if self._begun:
            self._begun = False
            self._work.end()

    def _tick(self) -> None:
        self._beat()
        self._look_for_silence()
        self._loop.call_later(_BEAT_EVERY, self._tick)

    def _look_for_silence(self) -> None:
        """A queue without a leader answers nothing, for ever, while the connection is in the best of health."""
        if self._connection is None or not self._connection.is_open:
            return
        if not self.was_settled and time.monotonic() > self._patient_until:
            self.fail(failures.unreachable(self.endpoint, f"no answer in time{self._asked and ': '}{self._asked}"))
        elif self._begun and not self.blocked and self.confirms.waits() > self._settings.blocked_timeout:
            self.fail(failures.unconfirmed(self.endpoint))

    def _close(self) -> None:
        """The socket too, when a fault has kept it open."""
        try:
            if self._connection is not None and not self._connection.is_closed:
                self._abandon()
                self._loop.start()
        except Exception:
            log.exception("a connection to the broker could not be closed", broker=str(self.endpoint))
        self._loop.close()

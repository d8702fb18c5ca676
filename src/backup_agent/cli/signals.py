"""Signals: the first one cancels the work, the second one cuts its clean-up short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def until_heeded(number: int, _: FrameType | None) -> None:
    """A handler that ends the process as the signal does by itself: of a process that is there for one command, which
    `acted_upon` tells by it.
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


@contextmanager
def heeded(cancellation: Cancellation, hurry: Cancellation) -> Iterator[list[int]]:
    """Yields the list of the signals received so far."""
    received: list[int] = []

    def act(number: int) -> None:
        received.append(number)
        reason = InterruptedByOperator(
            ErrorCode.INTERRUPTED,
            f"interrupted by {signal.Signals(number).name}",
            "Run the command again when it suits.",
        )
        if len(received) > 1:
            hurry.cancel(reason)
        cancellation.cancel(reason)

    # What is ignored stays so: nohup and a shell's background jobs mean it.
    with acted_upon([number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN], act):
        yield received


@contextmanager
def acted_upon(numbers: Sequence[int], act: Callable[[int], None]) -> Iterator[None]:
    """Calls `act` with each of these signals, in a thread of its own. In a process that is there for one command they
    are ignored afterwards: at no moment do they change the status of what has ended.

    A handler runs in the middle of whatever the main thread does, perhaps while it holds the very lock that a
    cancellation needs. Putting into a SimpleQueue is safe there.
    """
    pending: SimpleQueue[int | None] = SimpleQueue()

    def work() -> None:
        while (number := pending.get()) is not None:
            act(number)

    def handle(number: int, _: FrameType | None) -> None:
        pending.put(number)

    actor = threading.Thread(target=work, name="signals", daemon=True)
    actor.start()
    before = {number: signal.signal(number, handle) for number in numbers}
    # A stopped agent would leave the engine alone with its locks.
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler is until_heeded else handler)
        pending.put(None)
        actor.join()

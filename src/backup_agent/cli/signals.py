"""Signals: the first one cancels the work, the second one cuts its clean-up short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, InterruptedByOperator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def heeded(cancellation: Cancellation, hurry: Cancellation) -> Iterator[list[int]]:
    """Yields the list of the signals received so far.

    They are acted upon in a thread of their own: a handler runs in the middle of whatever the main thread does, perhaps
    while it holds the very lock that a cancellation needs. Putting into a SimpleQueue is safe there.
    """
    received: list[int] = []
    pending: SimpleQueue[int | None] = SimpleQueue()

    def act() -> None:
        while (number := pending.get()) is not None:
            received.append(number)
            reason = InterruptedByOperator(
                ErrorCode.INTERRUPTED,
                f"interrupted by {signal.Signals(number).name}",
                "Run the command again when it suits.",
            )
            if len(received) > 1:
                hurry.cancel(reason)
            cancellation.cancel(reason)

    def handle(number: int, _: FrameType | None) -> None:
        pending.put(number)

    actor = threading.Thread(target=act, name="signals", daemon=True)
    actor.start()
    # What is ignored stays so: nohup and a shell's background jobs mean it.
    ours = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in ours}
    # A stopped agent would leave the engine alone with its locks.
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        pending.put(None)
        actor.join()

"""Kills the engine when the agent falls silent while tables are locked: stopped, swapped out, stuck.

Run as `python guardian.py PIDFD SECONDS`, with the agent at the other end of standard input: each byte is a sign of
life, `L` while tables are (about to be) locked and `F` while they are not. After so many seconds of silence following
an `L`, the process of the descriptor is killed and the exit status is 3. The end of the input ends the guardian: when
the agent dies, the kernel kills the engine (launch.py). A program of its own, because a process that stands still can't
look after itself.
"""

import os
import select
import signal
import sys

KILLED = 3
LOCKED = b"L"
FREE = b"F"
_STDIN = 0


def guard(descriptor: int, seconds: float) -> int:
    locked = False
    while True:
        heard, _, _ = select.select([_STDIN], [], [], seconds if locked else None)
        if not heard:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return KILLED
        signs = os.read(_STDIN, 4096)
        if not signs:
            return 0
        locked = signs.endswith(LOCKED)


if __name__ == "__main__":
    try:
        sys.exit(guard(int(sys.argv[1]), float(sys.argv[2])))
    except ProcessLookupError:  # the engine ended in the same moment
        sys.exit(0)

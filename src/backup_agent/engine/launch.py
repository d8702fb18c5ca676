"""Becomes the engine, tied to the life of the thread that started it.

Run as `python launch.py PARENT_PID USER PROGRAM ARGUMENTS...`: becomes USER (`uid:gid`, or `-` to stay who it is), asks
the kernel for SIGKILL when the parent thread ends (PDEATHSIG, which a change of the user would take back), checks that
the parent did not end in between, and replaces itself with the program. A separate program, because code between fork
and exec in a process with threads may deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_GONE = 125
CANNOT_RUN = 126
SAME_USER = "-"


def launch(parent_pid: int, user: str, argv: list[str]) -> None:
    if user != SAME_USER:
        become(*map(int, user.split(":")))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:
        sys.exit(PARENT_GONE)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the argument vector is the engine's own, no shell is meant
    except OSError as error:
        sys.stderr.write(f"can't run {argv[0]}: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


def become(uid: int, gid: int) -> None:
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        sys.stderr.write(f"can't become user {uid}: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2], sys.argv[3:])

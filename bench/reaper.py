"""Runs one command and tells how long it took and what CPU its whole process tree used. Started by path, as a script.

As a subreaper it inherits whatever the command's processes leave behind, so that `wait4` accounts for all of them. Ends
the tree when it is told to stop (SIGTERM), also when the process that started it is killed. Knows nothing of backups.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, by the kernel's own lists; one that ends meanwhile is left out."""
    found: list[int] = []
    for task in _names(Path(f"/proc/{pid}/task")):
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children.split()):
            found += [child, *descendants(child)]
    return found


def _names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill_descendants() -> None:
    """Until none is left: one that was forked meanwhile is found on the next round."""
    while pids := descendants(os.getpid()):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.wait()
        except ChildProcessError:
            return


def main(report: Path, command: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGTERM)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

    def stop(*_: object) -> None:
        kill_descendants()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    begin = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    status, end = None, begin
    while True:
        try:
            pid, code = os.wait()
        except ChildProcessError:
            break
        if pid == child.pid:
            status, end = os.waitstatus_to_exitcode(code), time.monotonic()
    child.returncode = status
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report.write_text(
        json.dumps({"status": status, "begin": begin, "end": end, "user_s": used.ru_utime, "system_s": used.ru_stime})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))

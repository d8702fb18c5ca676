"""`python killpoint.py POINT MARK backup-agent's arguments...`: the API, killed by SIGKILL at a named point.

Each point is a step of the program's own, before or after which one of its processes kills the first one and itself,
once: the file MARK says that it has. The kernel ends the others. Nothing of this is in the program.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from backup_agent.cli import main


class Point(NamedTuple):
    """A function of a module, and whether the end comes before or after it."""

    module: str
    name: str
    after: bool


POINTS = {
    "the row is written, not committed": Point("backup_agent.api.catalogue.outbox", "put", after=True),
    "row and command are committed, the user was not answered": Point(
        "backup_agent.api.routes.backups", "create_backup", after=True
    ),
    "the command is about to be sent": Point("backup_agent.api.catalogue.outbox", "pending", after=True),
    "the broker has the command, which was not noted": Point(
        "backup_agent.api.catalogue.outbox", "confirmed", after=False
    ),
    "an event came, and was not taken over": Point("backup_agent.api.relay.process", "take", after=False),
    "an event was taken over, not acknowledged": Point("backup_agent.api.relay.process", "take", after=True),
}
"""Between row and message, and between event and acknowledgement."""


def arm(point: Point, mark: Path) -> None:
    module = __import__(point.module, fromlist=[point.name])
    original = getattr(module, point.name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if not point.after:
            _die(mark)
        result = original(*arguments, **options)
        if point.after and result != []:
            _die(mark)
        return result

    setattr(module, point.name, wrapped)


def _die(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    chosen, marked = sys.argv[1], Path(sys.argv[2])
    # As `api run` has it: before Prometheus's library is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(marked.parent)
    arm(POINTS[chosen], marked)
    sys.argv = ["backup-agent", *sys.argv[3:]]
    main()

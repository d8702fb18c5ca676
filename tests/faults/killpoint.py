"""`python killpoint.py POINT MARK backup-agent's arguments...`: the agent, killed by SIGKILL at a named point.

Each point is a step of the program's own, before or after which the process kills itself, once: the file MARK says that
it has. Nothing of this is in the program.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backup_agent.cli import main
from backup_agent.domain.event import EventType
from backup_agent.domain.state import Phase
from backup_agent.instance.administration_sql import MariaDBAdministration
from backup_agent.instance.lock import InstanceLock
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.operations import attempt, backup, cleanup, delete_by_hand, instance_run, recover, task_run
from backup_agent.operations.accept import Acceptance
from backup_agent.operations.delete_objects import Remover
from backup_agent.operations.instance_operation import Work as OperationWork
from backup_agent.operations.recording import Recorder
from backup_agent.operations.tasks import Work
from backup_agent.storage.local import LocalStore
from backup_agent.storage.swift import SwiftStore

Condition = Callable[..., bool]


class Point:
    """A method or function of `owner`, and whether the end comes before or after it."""

    def __init__(self, owner: Any, name: str, *, after: bool, when: Condition = lambda *_, **__: True) -> None:
        self._owner = owner
        self._name = name
        self._after = after
        self._when = when

    def arm(self, mark: Path) -> None:
        original = getattr(self._owner, self._name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            wanted = not mark.exists() and self._when(*arguments, **options)
            if wanted and not self._after:
                _die(mark)
            result = original(*arguments, **options)
            if wanted:
                _die(mark)
            return result

        setattr(self._owner, self._name, wrapped)


def _die(mark: Path) -> None:
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _tells(kind: EventType, phase: Phase | None = None) -> Condition:
    return lambda _, event: event.type is kind and (phase is None or event.phase is phase)


def _puts(part: str) -> Condition:
    return lambda _, key, *__, **___: part in key


def _deletes(part: str) -> Condition:
    return lambda _, key: part in key


def _ends_a_backup(journal: SqliteJournal, event_id: int) -> bool:
    return any(
        event.id == event_id and event.type in (EventType.COMPLETED, EventType.FAILED) for event in journal.pending(10)
    )


POINTS = {
    "a command came, and is not journaled": Point(Acceptance, "__call__", after=False),
    "journaled, not acknowledged": Point(Acceptance, "__call__", after=True),
    "begun": Point(backup, "begin", after=True),
    "locked": Point(InstanceLock, "_write", after=True, when=lambda _, __, holder: holder.command == "backup"),
    "before BUILDING is noted": Point(Recorder, "publish", after=False, when=_tells(EventType.STARTED)),
    "BUILDING is noted": Point(Recorder, "publish", after=True, when=_tells(EventType.STARTED)),
    "the engine runs": Point(attempt._Attempt, "_note_engine", after=False),  # noqa: SLF001 - a step like others
    "the engine is noted": Point(attempt._Attempt, "_note_engine", after=True),  # noqa: SLF001
    "a chunk is stored": Point(LocalStore, "put", after=True, when=_puts("/chunk-00000002")),
    "tables are locked": Point(Recorder, "publish", after=True, when=_tells(EventType.PROGRESS, Phase.BLOCKING)),
    "the stream has ended": Point(Recorder, "publish", after=True, when=_tells(EventType.PROGRESS, Phase.COMMITTING)),
    "before the manifest": Point(LocalStore, "put", after=False, when=_puts("/manifest.json")),
    "the manifest is stored": Point(LocalStore, "put", after=True, when=_puts("/manifest.json")),
    "COMPLETED is noted": Point(Recorder, "publish", after=True, when=_tells(EventType.COMPLETED)),
    "told, and not noted to be": Point(SqliteJournal, "confirmed", after=False, when=_ends_a_backup),
    "told": Point(SqliteJournal, "confirmed", after=True, when=_ends_a_backup),
}
"""Each state boundary of a backup that goes well."""

FAILING = {
    "before chunks are removed": Point(cleanup, "remove_objects", after=False),
    "chunks are removed": Point(cleanup, "remove_objects", after=True),
    "before FAILED is noted": Point(Recorder, "publish", after=False, when=_tells(EventType.FAILED)),
    "FAILED is noted": Point(Recorder, "publish", after=True, when=_tells(EventType.FAILED)),
}
"""Those of one that is cancelled."""

RECOVERING = {
    "the engine of the dead is ended": Point(recover, "_end_engine", after=True),
    "before the dead one's chunks are removed": Point(recover, "remove_objects", after=False),
    "the dead one's chunks are removed": Point(recover, "remove_objects", after=True),
    "before the dead one is FAILED": Point(Recorder, "publish", after=False, when=_tells(EventType.FAILED)),
    "the dead one is FAILED": Point(Recorder, "publish", after=True, when=_tells(EventType.FAILED)),
}
"""Those of the recovery of a backup that was killed."""

DELETING = {
    "before the plan is noted": Point(delete_by_hand, "_begin", after=False),
    "the plan is noted": Point(delete_by_hand, "_begin", after=True),
    "before a manifest goes": Point(LocalStore, "delete", after=False, when=_deletes("/manifest.json")),
    "a manifest is gone": Point(LocalStore, "delete", after=True, when=_deletes("/manifest.json")),
    "a chunk is gone": Point(LocalStore, "delete", after=True, when=_deletes("/chunk-00000001")),
    "a backup is gone": Point(Remover, "remove", after=True),
    "a backup's end is told": Point(Work, "tell", after=True),
    "all is gone, and not noted": Point(task_run, "_end", after=False),
    "the end is noted": Point(task_run, "_end", after=True),
}
"""Those of a deletion; the first two by hand alone."""

OPERATING = {
    "before it is begun": Point(OperationWork, "begin", after=False),
    "begun, and nothing is done": Point(OperationWork, "begin", after=True),
    "one of two is done": Point(MariaDBAdministration, "create_database", after=True),
    "all is done, and not noted": Point(instance_run, "_end", after=False),
    "the end of it is noted": Point(instance_run, "_end", after=True),
    "answered, and not noted to be": Point(SqliteJournal, "confirmed", after=False),
}
"""Those of an operation on the instance."""

IN_SWIFT = {"the manifest is in Swift": Point(SwiftStore, "put", after=True, when=_puts("/manifest.json"))}

if __name__ == "__main__":
    point, mark = sys.argv[1], Path(sys.argv[2])
    {**POINTS, **FAILING, **RECOVERING, **DELETING, **OPERATING, **IN_SWIFT}[point].arm(mark)
    sys.argv = ["backup-agent", *sys.argv[3:]]
    main()

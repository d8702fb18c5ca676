"""Looks at the server's tables around a backup, and judges by what it saw whether their copies are theirs.

The looks that count are taken while nobody can write: what has changed until then is not in the copies, and what comes
later is no matter. When one comes too late, writes can't be told from DDL any more, and a doubt remains. So each begins
as early as it can, beside the thread that reads the engine's log, whose delay would keep the tables locked.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from backup_agent.domain.manifest import File, Manifest
from backup_agent.engine.interface import EngineRun
from backup_agent.errors import InstanceError
from backup_agent.instance.interface import Facts, Instance
from backup_agent.instance.table_files import Files, TableFile
from backup_agent.operations.tables import Locked, changes, check_tables, torn, written
from backup_agent.stream.mbstream import StreamParser

_NAMED = 5
_ENCODED = re.compile("[^0-9A-Za-z_]")


class TableWatch:
    """Looks for the first time when it is made, before the engine runs. For one run."""

    def __init__(self, instance: Instance, facts: Facts, parent: Manifest | None) -> None:
        """Raises InstanceError (`datadir_unreadable`)."""
        self._instance = instance
        self._facts = facts
        self._inherited = None if parent is None else _newest_tablespace(parent, facts)
        self._parent_begun = None if parent is None else datetime.fromisoformat(parent.started)
        self._before = self._look()
        self._locked: Locked | None = None
        self._looks: list[threading.Thread] = []
        self._after: dict[Files, dict[str, TableFile]] = {}
        self._in_time: dict[str, TableFile] = {}
        self._failure: InstanceError | None = None

    def follow(self, run: EngineRun) -> None:
        """To be called before the engine is started."""

        def frozen() -> None:
            self._note_lock(run)
            self._look_beside(Files.OTHERS, lambda: run.frozen)

        run.when_frozen(frozen)
        run.when_settled(lambda: self._look_beside(Files.ARIA, lambda: run.settled))

    def judge(self, parser: StreamParser, files: tuple[File, ...]) -> str | None:
        """A warning of tables that a statement was still writing while they were copied, if there are any.

        Raises TakeAgainError (`ddl_during_backup`), and InstanceError (`datadir_unreadable`).
        """
        for look in self._looks:
            look.join()
        if self._failure is not None:
            raise self._failure
        if self._facts.datastore != "mariadb":
            return None
        after: dict[str, TableFile] = {}
        for which in (Files.OTHERS, Files.ARIA):
            after |= self._after[which] if which in self._after else self._look(which)
        doubts = parser.doubts(self._inherited)
        doubts += changes(files, parser.heads, after)
        doubts += torn(files, parser.heads, self._before, after)
        check_tables(doubts, self._facts.datadir, self._parent_begun)
        meanwhile = written(files, parser.heads, self._in_time, self._locked) if self._locked is not None else []
        return _warning([doubt.table for doubt in meanwhile]) if meanwhile else None

    def _note_lock(self, run: EngineRun) -> None:
        if (at := run.locked_at) is not None:
            since = time.time_ns() - int((time.monotonic() - at) * 1e9)
            self._locked = Locked(since, frozenset(_path(*table) for table in run.in_use))

    def _look_beside(self, which: Files, still: Callable[[], bool]) -> None:
        def look() -> None:
            try:
                self._after[which] = self._look(which)
            except InstanceError as error:
                self._failure = error
            else:
                if still():
                    self._in_time.update(self._after[which])

        thread = threading.Thread(target=look, name="table-watch", daemon=True)
        self._looks.append(thread)
        thread.start()

    def _look(self, which: Files = Files.ALL) -> dict[str, TableFile]:
        return self._instance.table_files(self._facts.datadir, which)


def _newest_tablespace(parent: Manifest, facts: Facts) -> int:
    """Parents of earlier versions do not tell: they may hold all that was there when the incremental began."""
    return facts.newest_tablespace if parent.newest_tablespace is None else parent.newest_tablespace


def _warning(tables: Sequence[str]) -> str:
    named = ", ".join(sorted(tables)[:_NAMED]) + (", ..." if len(tables) > _NAMED else "")
    return (
        f"{len(tables)} non-transactional table(s) were being written while the engine copied them, and may need a "
        f"repair when restored: {named}. With SELECT ON *.* the engine sees most such writes and waits for their end"
    )


def _path(database: str, table: str) -> str:
    """As the server names a table's files; a letter it encodes in another way is then not found, which is no harm."""
    return "/".join(_ENCODED.sub(lambda char: f"@{ord(char[0]):04x}", name) for name in (database, table))

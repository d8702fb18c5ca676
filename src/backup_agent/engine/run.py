"""One run of the engine's --backup, from its start to the judgement of its end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import IO, Self

from backup_agent.domain.state import Phase
from backup_agent.engine.dialect import Dialect
from backup_agent.engine.failure import failure, unfinished
from backup_agent.engine.guard import Guard
from backup_agent.engine.interface import EngineReport
from backup_agent.engine.options import OptionFile
from backup_agent.engine.priority import Priority
from backup_agent.engine.process import EngineProcess
from backup_agent.engine.reports import check_whole, read_binlog, read_lsns
from backup_agent.engine.stages import FailureSigns, StageClock
from backup_agent.engine.workdir import WorkDir
from backup_agent.errors import EngineError, ErrorCode


class BackupRun:
    """The process begins when the context is entered, in the entering thread, whose end would kill it."""

    def __init__(
        self,
        dialect: Dialect,
        options: str,
        work: WorkDir,
        argv: Callable[[str, WorkDir], Sequence[str]],
        *,
        priority: Priority,
        hold: bool,
        standstill: float,
    ) -> None:
        """`argv` makes the argument vector from the option file's path and the work directory; `hold` as in the plan.
        After `standstill` seconds without a `beat` the engine is killed, if tables are locked.
        """
        self._name = dialect.name
        self._options = options
        self._work = work
        self._argv = argv
        self._priority = priority
        self._hold = hold
        self._standstill = standstill
        self._clock = StageClock(dialect.stages)
        self._signs = FailureSigns(dialect.failures)
        self._tells_of_ddl = dialect.ddl_met
        self._ddl_met: str | None = None
        self._process: EngineProcess | None = None
        self._guard: Guard | None = None
        self._held = False
        self._routine = dialect.routine
        self._moments: list[tuple[Callable[[], bool], Callable[[], None]]] = []

    @property
    def phase(self) -> Phase:
        return self._clock.phase

    @property
    def locked_since(self) -> float | None:
        return self._clock.locked_since()

    @property
    def waits_for(self) -> str | None:
        return self._clock.wanted()

    def when_frozen(self, call: Callable[[], None]) -> None:
        self._moments.append((self._clock.frozen, call))

    @property
    def frozen(self) -> bool:
        return self._clock.frozen()

    def when_settled(self, call: Callable[[], None]) -> None:
        self._moments.append((self._clock.settled, call))

    @property
    def settled(self) -> bool:
        return self._clock.settled()

    @property
    def locked_at(self) -> float | None:
        return self._clock.in_use()[0]

    @property
    def in_use(self) -> frozenset[tuple[str, str]]:
        return self._clock.in_use()[1]

    @property
    def held(self) -> bool:
        return self._held

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._running().send(signal.SIGCONT)

    @property
    def stopped(self) -> bool:
        return not self._held and self._running().stopped

    def beat(self) -> None:
        if self._guard is not None:
            self._guard.beat(locked=self._clock.nearing and self._clock.phase is not Phase.FINISHING)

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def stdout(self) -> IO[bytes]:
        return self._running().stdout

    def finish(self) -> EngineReport:
        process = self._running()
        status = process.wait()
        lines = process.last_lines
        if status != 0 or not lines or not lines[-1].endswith("completed OK!"):
            raise self._failure(status, lines)
        if (error := unfinished(self._name, self._signs.found)) is not None:
            raise error
        lsn = read_lsns(self._work.lsn)
        check_whole(self._work.lsn)
        return EngineReport(lsn, read_binlog(self._work.lsn), self._clock.window())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self._work.__enter__()
        try:
            with OptionFile(self._options) as options:
                argv = self._argv(options.path, self._work)
                self._process = EngineProcess(argv, on_line=self._read, stdout=True, inherit=[options.descriptor])
            self._guard = Guard(self._process.pid, self._standstill)
            self._priority.lower(self._process.pid)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
        if self._guard is not None:
            self._guard.close()
        self._work.__exit__()

    def _read(self, line: str, at: float) -> None:
        if self._routine is not None and self._routine.match(line):
            return
        copying = not self._clock.nearing
        self._clock.read(line, at)
        self._signs.read(line)
        self._look_for_ddl(line)
        for has_come, call in tuple(self._moments):
            if has_come():
                self._moments.remove((has_come, call))
                call()
        if copying and self._clock.nearing and self._process is not None and self._guard is not None:
            self._come_near(self._process, self._guard)
        if (
            self._held and self._clock.locked_since() is not None
        ):  # the stop came too late: the locks are wanted already
            self.resume()

    def _look_for_ddl(self, line: str) -> None:
        """Before it copies, the engine reads the redo since the last checkpoint, and tells of DDL that is over."""
        if self._ddl_met is None and self._tells_of_ddl is not None and self._clock.phase is not Phase.LOCKING:
            self._ddl_met = line if self._tells_of_ddl.search(line) else None

    def _come_near(self, process: EngineProcess, guard: Guard) -> None:
        """Shortly before tables are locked: from here on the engine's priority is the server's, and it is guarded."""
        guard.beat(locked=True, now=True)
        self._priority.restore(process.pid)
        if self._hold and self._clock.locked_since() is None:
            self._held = True
            process.send(signal.SIGSTOP)

    def _running(self) -> EngineProcess:
        if self._process is None:
            msg = "the engine has not been started: enter its context first"
            raise ValueError(msg)
        return self._process

    def _failure(self, status: int, lines: Sequence[str]) -> EngineError:
        if self._guard is not None and self._guard.has_killed:
            return EngineError(
                ErrorCode.ENGINE_STALLED,
                f"this agent stood still for more than {self._standstill:g} s while tables were locked; its guardian "
                f"killed {self._name}, and the locks are free",
                "Find out what stops processes on this host (a signal, swapping, a hanging disk), then take it again.",
            )
        return failure(self._name, status, lines, self._signs.found, self._ddl_met)

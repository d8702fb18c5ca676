"""One run of the engine's --backup, from its start to the judgement of its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Self

from backup_agent.domain.state import Phase
from backup_agent.engine.dialect import Dialect
from backup_agent.engine.interface import EngineReport
from backup_agent.engine.options import OptionFile
from backup_agent.engine.process import EngineProcess
from backup_agent.engine.reports import check_whole, read_binlog, read_lsns
from backup_agent.engine.stages import FailureSigns, StageClock
from backup_agent.engine.workdir import WorkDir
from backup_agent.errors import EngineError, ErrorCode, TakeAgainError


class BackupRun:
    """The process begins when the context is entered, in the entering thread, whose end would kill it."""

    def __init__(
        self,
        dialect: Dialect,
        options: str,
        work: WorkDir,
        argv: Callable[[str, WorkDir], Sequence[str]],
        *,
        priority: tuple[int, str],
    ) -> None:
        """`argv` makes the argument vector from the option file's path and the work directory; `priority` is the
        niceness and the I/O class.
        """
        self._name = dialect.name
        self._options = options
        self._work = work
        self._argv = argv
        self._priority = priority
        self._clock = StageClock(dialect.stages)
        self._signs = FailureSigns(dialect.failures)
        self._process: EngineProcess | None = None

    @property
    def phase(self) -> Phase:
        return self._clock.phase

    @property
    def stdout(self) -> IO[bytes]:
        return self._running().stdout

    def finish(self) -> EngineReport:
        process = self._running()
        status = process.wait()
        lines = process.last_lines
        if status != 0 or not lines or not lines[-1].endswith("completed OK!"):
            raise self._failure(status, lines)
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
            self._process.be_nice(*self._priority)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
        self._work.__exit__()

    def _read(self, line: str, at: float) -> None:
        self._clock.read(line, at)
        self._signs.read(line)

    def _running(self) -> EngineProcess:
        if self._process is None:
            msg = "the engine has not been started: enter its context first"
            raise ValueError(msg)
        return self._process

    def _failure(self, status: int, lines: Sequence[str]) -> EngineError:
        signs = self._signs.found
        said = " | ".join(dict.fromkeys([*signs.values(), *lines[-5:]]))
        message = f"{self._name} ended with status {status}: {said or 'it said nothing'}"
        if "redo" in signs:
            return EngineError(
                ErrorCode.ENGINE_REDO_OVERWRITTEN,
                message,
                "The redo log went round before it was copied: enlarge innodb_log_file_size, or use a faster store.",
            )
        if "ddl" in signs:
            return TakeAgainError(
                ErrorCode.DDL_DURING_BACKUP, message, "Take the backup while no tables are created, altered or dropped."
            )
        if "denied" in signs:
            hint = "Run `backup-agent config check`: it names the privileges that are missing."
        else:
            hint = "The message holds the engine's last words; its own documentation explains them."
        return EngineError(ErrorCode.ENGINE_FAILED, message, hint)

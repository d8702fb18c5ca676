"""mariadb-backup and xtrabackup behind the seam: the argument vectors, and the order of things.

What this does not do: judge the stream's content (stream.mbstream does) or decide whether a backup may begin.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backup_agent.cancellation import Cancellation
from backup_agent.engine.dialect import Dialect
from backup_agent.engine.extraction import StreamExtraction
from backup_agent.engine.interface import BackupPlan, EngineRun, EngineVersion, Extraction
from backup_agent.engine.options import Login, OptionFile, client_options
from backup_agent.engine.priority import Priority
from backup_agent.engine.process import EngineProcess, find_binary, run
from backup_agent.engine.run import BackupRun
from backup_agent.engine.stages import FailureSigns
from backup_agent.engine.workdir import WorkDir
from backup_agent.errors import EngineError, ErrorCode


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`log_copy_interval_ms` in milliseconds, `prepare_memory` in bytes, `standstill` (how long the agent may be silent
    while tables are locked) in seconds; the rest as in the configuration.
    """

    binary: str
    stream_binary: str
    parallel: int
    log_copy_interval_ms: int
    prepare_memory: int
    priority: Priority
    standstill: float
    extra_args: Sequence[str]
    include: Path | None
    throttle: int | None = None


class StreamingEngine:
    def __init__(self, dialect: Dialect, settings: EngineSettings, login: Login, work: Path) -> None:
        """`work` is a directory of this engine's own; see WorkDir."""
        self._dialect = dialect
        self._settings = settings
        self._login = login
        self._work = work
        self._known: tuple[tuple[object, ...], EngineVersion] | None = None

    def version(self) -> EngineVersion:
        """Asks the binary once, and again when it has been replaced: a start of it takes some 20 ms."""
        find_binary(self._settings.stream_binary)
        binary = find_binary(self._settings.binary)
        status = Path(binary).stat()
        identity = (binary, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._known is None or self._known[0] != identity:
            self._known = (identity, self._ask_version(binary))
        return self._known[1]

    def _ask_version(self, binary: str) -> EngineVersion:
        match = self._dialect.version.search(run([binary, "--version"]))
        if match is None:
            raise EngineError(
                ErrorCode.ENGINE_MISSING,
                f"{self._settings.binary} does not say which version of {self._dialect.name} it is",
                "Set engine.binary to the engine of engine.kind.",
            )
        return EngineVersion(self._dialect.name, match[1])

    def start(self, plan: BackupPlan) -> EngineRun:
        return BackupRun(
            self._dialect,
            client_options(self._login, self._settings.include),
            WorkDir(self._work),
            lambda options, work: self._backup_argv(plan, options, work),
            priority=self._settings.priority,
            hold=plan.hold,
            standstill=self._settings.standstill,
        )

    def _backup_argv(self, plan: BackupPlan, options: str, work: WorkDir) -> list[str]:
        settings = self._settings
        argv = [
            find_binary(settings.binary),
            f"--defaults-file={options}",
            "--backup",
            f"--stream={self._dialect.stream_format}",
            f"--datadir={plan.datadir}",
            f"--target-dir={work.path / 'target'}",
            f"--extra-lsndir={work.lsn}",
            f"--tmpdir={work.path}",
            f"--parallel={settings.parallel}",
            f"--log-copy-interval={settings.log_copy_interval_ms}",
        ]
        if settings.throttle is not None:
            argv.append(f"--throttle={settings.throttle}")
        if plan.incremental_lsn is not None:
            argv.append(f"--incremental-lsn={plan.incremental_lsn}")
        if plan.replica:
            argv.append("--slave-info")
        if plan.galera:
            argv.append("--galera-info")
        return [*argv, *settings.extra_args]

    def extract(self, directory: Path) -> Extraction:
        # No --parallel: a thread checks a close after a rename against the last payload that it read itself, and fails.
        argv = [find_binary(self._settings.stream_binary), "-x", "-C", str(directory)]
        return StreamExtraction(EngineProcess(argv, stdin=True))

    def tidy(self) -> None:
        WorkDir(self._work).remove()

    def complete(self, target: Path, *, cancellation: Cancellation) -> None:
        if self._dialect.apply_log_only:
            self.prepare(target, None, last=True, cancellation=cancellation)

    def prepare(self, target: Path, incremental: Path | None, *, last: bool, cancellation: Cancellation) -> None:
        include = f"!include {self._settings.include}\n" if self._settings.include else ""
        with OptionFile(include) as options:
            argv = [
                find_binary(self._settings.binary),
                f"--defaults-file={options.path}",
                "--prepare",
                f"--target-dir={target}",
                f"--use-memory={self._settings.prepare_memory}",
            ]
            if incremental is not None:
                argv.append(f"--incremental-dir={incremental}")
            if self._dialect.apply_log_only and not last:
                argv.append("--apply-log-only")
            signs = FailureSigns(self._dialect.failures)
            process = EngineProcess(argv, on_line=lambda line, _: signs.read(line), inherit=[options.descriptor])
            cancellation.on_cancel(process.kill)
            try:
                status = process.wait()
            finally:
                process.close()
        cancellation.check()
        lines = process.last_lines
        if status == -signal.SIGKILL:
            raise EngineError(
                ErrorCode.ENGINE_FAILED,
                f"{self._dialect.name} --prepare was killed, which says nothing of the backup",
                "Find out who did it: when memory is short, the kernel does (dmesg). Lower engine.prepare_memory_mib.",
            )
        if status != 0 or not lines or not lines[-1].endswith("completed OK!"):
            said = " | ".join(dict.fromkeys([*signs.found.values(), *lines[-5:]]))
            raise EngineError(
                ErrorCode.PREPARE_FAILED,
                f"{self._dialect.name} --prepare ended with status {status}: {said}",
                "If the data is encrypted at rest, set engine.include to an option file with the key plugin's "
                "settings; otherwise restore an earlier backup.",
            )

"""What a backup engine is: something that turns a running server into one stream of bytes, and back into files.

mariadb-backup and xtrabackup are the two. An engine process belongs to the thread that started it: it is killed by the
kernel (PDEATHSIG) when that thread ends, so it must be started from a thread that outlives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from backup_agent.cancellation import Cancellation
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.manifest import BinlogPosition, LsnRange
from backup_agent.domain.state import Phase
from backup_agent.errors import EngineError


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """`series` is what must be equal between engine, server and backup, such as `10.11`."""

    name: str
    version: str

    @property
    def series(self) -> str:
        return series(self.version)


def series(version: str) -> str:
    """`10.11.6-MariaDB-0+deb12u1` is of the series `10.11`."""
    return ".".join(version.split("-", maxsplit=1)[0].split(".")[:2])


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What one run of the engine is to do. `incremental_lsn` is the parent's `to_lsn`, None for a full backup.

    `hold` asks for the run to be held once, just before it locks non-transactional tables, until it is resumed.
    """

    datadir: Path
    incremental_lsn: int | None
    replica: bool
    galera: bool
    hold: bool = False


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What the engine says of a backup it ended with success."""

    lsn: LsnRange
    binlog: BinlogPosition | None
    locks: LockWindow


class EngineRun(Protocol):
    """One running backup. Leaving the context kills the engine if it still runs and removes its temporary files."""

    @property
    def pid(self) -> int:
        """Of the engine's process."""
        ...

    @property
    def stdout(self) -> IO[bytes]:
        """The stream. To be read to its end before `finish`."""
        ...

    @property
    def phase(self) -> Phase:
        """Where the engine is, by its log. Safe from any thread."""
        ...

    @property
    def locked_since(self) -> float | None:
        """The monotonic time since which writers of non-transactional tables wait for the engine, waiting for the lock
        included; None when they do not. Safe from any thread, as all that follows here up to `beat`.
        """
        ...

    @property
    def waits_for(self) -> str | None:
        """The stage whose lock the engine has asked for and not got yet; None when it does not wait."""
        ...

    def when_frozen(self, call: Callable[[], None]) -> None:
        """Has `call` called once, in the thread that reads the engine's log, as soon as nobody can write MyISAM, CSV or
        ARCHIVE tables any more, nor change any table by DDL. The engine waits for who reads its log: `call` neither
        takes long nor raises. To be asked for before the engine is started.
        """
        ...

    @property
    def frozen(self) -> bool:
        """Whether that is so now."""
        ...

    def when_settled(self, call: Callable[[], None]) -> None:
        """The same as soon as nobody can write anything (the lock of the last stage was got)."""
        ...

    @property
    def settled(self) -> bool:
        """Whether that is so now."""
        ...

    @property
    def locked_at(self) -> float | None:
        """The monotonic time when the engine had locked writers of non-transactional tables out, and had listed the
        tables in use: then it begins to copy the others. None before, and when its log does not tell.
        """
        ...

    @property
    def in_use(self) -> frozenset[tuple[str, str]]:
        """That list: databases and tables, by their names in SQL."""
        ...

    @property
    def held(self) -> bool:
        """Whether the process has been stopped just before it locks non-transactional tables, and waits for `resume`.

        So once, if the plan asks for it and the engine's log tells that moment (mariadb-backup's does).
        """
        ...

    def resume(self) -> None:
        """Lets a held engine go on. Idempotent."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether the process stands still because somebody else stopped it."""
        ...

    def beat(self) -> None:
        """A sign of life. From the moment the engine is held until its locks are released it is killed when none comes
        for the time its guardian bears.
        """
        ...

    def finish(self) -> EngineReport:
        """Waits for the end and judges it: exit status 0, `completed OK!` in the last line, LSN file whole.

        Raises EngineError with the last lines of the log (`engine_failed`, `engine_redo_overwritten`), or
        `engine_stalled` when the guardian killed it, or
        TakeAgainError (`ddl_during_backup`): also when nothing else explains the end and DDL met the copies, and when
        it says OK although it did not repeat all of that DDL on them.
        """
        ...

    def kill(self) -> None:
        """SIGKILL, because mariadb-backup blocks SIGTERM. Idempotent, from any thread; `finish` then raises."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Extraction(Protocol):
    """One running extraction of a stream into a directory. Leaving the context kills it if it still runs."""

    def write(self, data: bytes | memoryview) -> None:
        """Blocks while the extractor is busy. Raises EngineError (`extract_failed`) as soon as it has failed."""
        ...

    def finish(self) -> None:
        """Raises EngineError (`extract_failed`) on any line on its stderr: its exit status proves nothing."""
        ...

    def kill(self) -> None:
        """From any thread; `write` and `finish` then raise."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Engine(Protocol):
    def version(self) -> EngineVersion:
        """Runs the binary to ask. Raises EngineError (`engine_missing`)."""
        ...

    def start(self, plan: BackupPlan) -> EngineRun:
        """A backup that begins when its context is entered."""
        ...

    def extract(self, directory: Path) -> Extraction:
        """Starts writing a stream's files into `directory`, which exists and is empty."""
        ...

    def tidy(self) -> None:
        """Removes the temporary files that a killed backup has left. The caller holds the instance's lock."""
        ...

    def complete(self, target: Path, *, cancellation: Cancellation) -> None:
        """Makes a copy of a directory startable that was prepared without `last`. Raises as `prepare` does."""
        ...

    def prepare(self, target: Path, incremental: Path | None, *, last: bool, cancellation: Cancellation) -> None:
        """Makes the files in `target` consistent, or brings them forward by the extracted `incremental`.

        `last` says that nothing follows: the result must be startable. A cancellation kills the process and raises
        its reason. Raises EngineError (`prepare_failed`).
        """
        ...


class PrivateServer(Protocol):
    """A server on a restored directory, started when the context is entered, killed when it is left.

    Entering raises EngineError: `restored_unusable` when no server starts on these files, `private_server_failed` for
    other reasons.
    """

    @property
    def socket(self) -> Path:
        """Where it listens, for this process alone; nobody is asked for a password."""
        ...

    @property
    def errors(self) -> tuple[str, ...]:
        """The last lines of its log that it calls errors."""
        ...

    @property
    def ended(self) -> bool: ...

    def failure(self, doing: str) -> EngineError:
        """Why it ended while it was `doing` something, as entering raises."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class PrivateServers(Protocol):
    @property
    def reads_keys(self) -> bool:
        """Whether they are told where the keys of data encrypted at rest are."""
        ...

    def version(self) -> str:
        """Runs the binary to ask. Raises EngineError (`engine_missing`)."""
        ...

    def check_reach(self, directory: Path, user: tuple[int, int] | None) -> None:
        """Raises TargetError (`target_unusable`) when that user can't use it: ids of user and group, None for us."""
        ...

    def serve(self, datadir: Path, user: tuple[int, int] | None, cancellation: Cancellation) -> PrivateServer:
        """One on prepared files, all of which belong to `user`. A cancellation kills it."""
        ...

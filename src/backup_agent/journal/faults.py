"""What SQLite and the operating system say, as JournalErrors with words for the operator. Decides nothing else."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from backup_agent.errors import ErrorCode, JournalError

BUSY_SECONDS = 30.0
"""How long a writer waits for the others."""
_PRIMARY = 0xFF
"""The part of SQLite's extended codes that names the kind."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_OWNER_HINT = "Run this as root or as the user of the agent's service, whose {directory} and all in it must be."
_HINTS: Mapping[int, str] = {
    sqlite3.SQLITE_FULL: "Make room on the file system of {directory}, or raise the quota.",
    **dict.fromkeys((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY), _OWNER_HINT),
    sqlite3.SQLITE_BUSY: "Find the process that holds it (`fuser {path}`): none needs it for longer than a moment.",
}
_HINT = "See that journal.dir, {directory}, is on a local disk that works, and that it and its files are the agent's."


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, not the disk or the permissions."""
    return _code(error) in _DAMAGE


def of_sqlite(path: Path, error: sqlite3.Error) -> JournalError:
    """For all but damage."""
    hint = _HINTS.get(_code(error), _HINT)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return _unusable(path, f"can't be used: {error} ({name})", hint)


def of_system(path: Path, error: OSError) -> JournalError:
    denied = error.errno in (errno.EACCES, errno.EPERM)
    return _unusable(path, f"can't be used: {error.strerror}", _OWNER_HINT if denied else _HINT)


def unusable(path: Path, what: str) -> JournalError:
    return _unusable(path, what, _HINT)


def unrecovered(path: Path) -> JournalError:
    """For those who may write nothing."""
    return _unusable(
        path,
        "can't be looked at: its -shm file is missing, which only the agent itself makes anew",
        "Start the agent, or take a backup with `backup-agent run-once`, and look again.",
    )


def outdated(path: Path, found: str, needed: str) -> JournalError:
    return _unusable(
        path,
        f"needs SQLite {needed} or newer; this Python has {found}",
        "Run the agent with a Python that was built with a newer SQLite.",
    )


def busy(path: Path) -> JournalError:
    return _unusable(
        path, f"can't be used: it was held for more than {BUSY_SECONDS:.0f} s", _HINTS[sqlite3.SQLITE_BUSY]
    )


def corrupt(path: Path, why: str, kept: str) -> JournalError:
    """`kept` says where the file is now."""
    return JournalError(
        ErrorCode.JOURNAL_CORRUPT,
        f"the journal {path} is not as it was written: {why}; {kept}",
        "The next start begins a new journal. The backups in the store are untouched (`backup-agent list`); commands "
        "and events that waited are in the old file: `sqlite3 FILE .recover` shows what is left of them.",
    )


def newer(path: Path, version: int, known: int) -> JournalError:
    return JournalError(
        ErrorCode.JOURNAL_NEWER,
        f"the journal {path} has version {version} of its tables; this program knows version {known}",
        "Start the newer version of this program again; to go back for good, move the file away while no agent runs.",
    )


def _unusable(path: Path, what: str, hint: str) -> JournalError:
    return JournalError(
        ErrorCode.JOURNAL_UNUSABLE, f"the journal {path} {what}", hint.format(path=path, directory=path.parent)
    )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY

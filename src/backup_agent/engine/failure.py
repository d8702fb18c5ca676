"""Why a backup by the engine failed, told from its exit status and its log. Reads no log itself, and decides no retry.

The signs are the lines that FailureSigns found. The engine does not always name what stopped it: where it names nothing
else, DDL that met its copies is taken for the reason (docs/adr/0007).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from backup_agent.errors import EngineError, ErrorCode, TakeAgainError

_LAST = 5
_DDL_HINT = (
    "Take the backup while no tables are created, altered or dropped. If it fails then too, look at the table that the "
    "message names (CHECK TABLE), and at the server's error log."
)


def failure(name: str, status: int, lines: Sequence[str], signs: Mapping[str, str], ddl_met: str | None) -> EngineError:
    """`lines` are the log's last, `ddl_met` is one that tells of DDL during the copy, if there is one."""
    if "redo" in signs:
        return EngineError(
            ErrorCode.ENGINE_REDO_OVERWRITTEN,
            _message(name, status, lines, signs, "redo"),
            "The redo log went round before it was copied: enlarge innodb_log_file_size, or use a faster store.",
        )
    if sign := next((sign for sign in ("ddl", "unfinished") if sign in signs), None):
        return TakeAgainError(ErrorCode.DDL_DURING_BACKUP, _message(name, status, lines, signs, sign), _DDL_HINT)
    if "denied" in signs:
        hint = "Run `backup-agent config check`: it names the privileges that are missing."
        return EngineError(ErrorCode.ENGINE_FAILED, _message(name, status, lines, signs, "denied"), hint)
    if ddl_met is not None and _is_unexplained(status, lines, signs):
        told = {"ddl": f"DDL went on while it copied: {ddl_met}", **signs}
        return TakeAgainError(ErrorCode.DDL_DURING_BACKUP, _message(name, status, lines, told, "ddl"), _DDL_HINT)
    hint = "The message holds the engine's last words; its own documentation explains them."
    return EngineError(ErrorCode.ENGINE_FAILED, _message(name, status, lines, signs, "other"), hint)


def unfinished(name: str, signs: Mapping[str, str]) -> TakeAgainError | None:
    """What is wrong with a backup of which the engine says that it is OK; None when nothing is."""
    if "unfinished" not in signs:
        return None
    message = f"{name} says OK, but has not repeated on its copies all DDL that met them: {signs['unfinished']}"
    return TakeAgainError(ErrorCode.DDL_DURING_BACKUP, message, _DDL_HINT)


def _is_unexplained(status: int, lines: Sequence[str], signs: Mapping[str, str]) -> bool:
    """Whether it gave up by itself, and none of its words gives a reason that DDL can't have caused."""
    succeeded = bool(lines) and lines[-1].endswith("completed OK!")
    return not succeeded and status not in {0, -signal.SIGKILL, -signal.SIGTERM} and "other" not in signs


def _message(name: str, status: int, lines: Sequence[str], signs: Mapping[str, str], first: str) -> str:
    """The line of the sign `first`, then those of the others, then the last ones."""
    told = [signs[first]] if first in signs else []
    said = " | ".join(dict.fromkeys([*told, *signs.values(), *lines[-_LAST:]]))
    return f"{name} ended with status {status}: {said or 'it said nothing'}"

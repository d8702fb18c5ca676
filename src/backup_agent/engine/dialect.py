"""What differs between mariadb-backup and xtrabackup; everything else they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backup_agent.engine.stages import StageNames


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    binary: str
    stream_binary: str
    stream_format: str
    version: re.Pattern[str]
    """Finds the version in the output of `--version`."""
    stages: StageNames
    apply_log_only: bool
    """Whether every --prepare but the last needs --apply-log-only."""
    routine: re.Pattern[str] | None
    """How lines begin that say no more than which file is copied, or which table is left for later. Nothing is looked
    for in them: they come by the ten thousand while tables are locked, and the engine waits for who reads them. None
    when it does not write any.
    """
    failures: Sequence[tuple[re.Pattern[str], str]]
    """Lines of the log that tell a failure's kind: `redo`, `ddl`, `denied`, or `other` when they name a reason that DDL
    can't have caused; `unfinished` is DDL that spoils the copies although the engine then says OK. `fatal` and `error`
    are only shown. A line that matches several is of the first kind.
    """
    ddl_met: re.Pattern[str] | None
    """A line that tells of DDL while the engine copied, which need not have done harm. None when no line does."""

"""The files an engine writes about its own backup, with `--extra-lsndir`: LSNs and the binary log position.

The names differ by version (`xtrabackup_checkpoints` in 10.x, `mariadb_backup_checkpoints` in 11.x): probed, not
assumed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from backup_agent.domain.manifest import BinlogPosition, LsnRange
from backup_agent.errors import EngineError, ErrorCode

CHECKPOINTS = ("xtrabackup_checkpoints", "mariadb_backup_checkpoints")
INFO = ("xtrabackup_info", "mariadb_backup_info")

_BINLOG = re.compile(
    r"filename '(?P<file>[^']*)', position '(?P<position>\d+)'(?:, GTID of the last change '(?P<gtid>[^']*)')?"
)


def read_lsns(directory: Path) -> LsnRange:
    """Raises EngineError (`engine_failed`) when the file is absent or incomplete."""
    fields = _fields(directory, CHECKPOINTS)
    try:
        return LsnRange(
            from_lsn=int(fields["from_lsn"]), to_lsn=int(fields["to_lsn"]), last_lsn=int(fields["last_lsn"])
        )
    except (KeyError, ValueError) as error:
        raise _unreadable("the file with the LSNs is incomplete") from error


def check_whole(directory: Path) -> None:
    """Raises EngineError (`engine_failed`) when the engine says that it left tables out, as some options make it do."""
    if _fields(directory, INFO).get("partial", "N") != "N":
        raise EngineError(
            ErrorCode.ENGINE_FAILED,
            "the engine took a partial backup, which restores to a server without some of its tables",
            "Remove options such as databases and tables from engine.extra_args and the file of engine.include.",
        )


def read_binlog(directory: Path) -> BinlogPosition | None:
    """None when the server writes no binary log."""
    text = _fields(directory, INFO).get("binlog_pos", "")
    match = _BINLOG.search(text)
    if match is None:
        return None
    return BinlogPosition(file=match["file"], position=int(match["position"]), gtid=match["gtid"] or "")


def _fields(directory: Path, names: Sequence[str]) -> dict[str, str]:
    for name in names:
        try:
            text = (directory / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(f"{name} can't be read: {error.strerror}") from error
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
        return {key.strip(): value.strip() for key, _, value in pairs}
    raise _unreadable(f"none of {', '.join(names)} was written")


def _unreadable(why: str) -> EngineError:
    return EngineError(
        ErrorCode.ENGINE_FAILED,
        f"the engine said OK, but {why}",
        "Check the engine's version; this program knows mariadb-backup 10.x and 11.x.",
    )

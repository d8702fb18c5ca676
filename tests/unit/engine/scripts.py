"""Small programs that stand where the engine's stand."""

from __future__ import annotations

from pathlib import Path

from backup_agent.engine.dialect import Dialect
from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.options import Login
from backup_agent.engine.priority import Priority
from backup_agent.engine.streaming import EngineSettings, StreamingEngine

RECORDER = 'printf "%s\\n" "$@" > "$(dirname "$0")/arguments"\n'
"""Writes its arguments into a file beside it, one a line."""


def script(directory: Path, text: str, name: str = "engine") -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def engine_of(
    directory: Path,
    binary: Path,
    dialect: Dialect = MARIADB_BACKUP,
    *,
    include: Path | None = None,
    throttle: int | None = None,
) -> StreamingEngine:
    """Its work directory is `directory/work`."""
    settings = EngineSettings(
        binary=str(binary),
        stream_binary=str(binary),
        parallel=3,
        log_copy_interval_ms=10,
        prepare_memory=64 << 20,
        priority=Priority(0, "none"),
        standstill=10,
        extra_args=("--extra", "last"),
        include=include,
        throttle=throttle,
    )
    login = Login("backup_agent", Path("/run/mysqld/mysqld.sock"), "localhost", 3306, "pass word")
    return StreamingEngine(dialect, settings, login, directory / "work")

"""The engine's extraction, on streams with the renames that DDL on MyISAM tables leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.options import Login
from backup_agent.engine.priority import Priority
from backup_agent.engine.streaming import EngineSettings, StreamingEngine
from tests.unit.stream.records import closing, rename, whole

pytestmark = pytest.mark.server

RENAMES = 3000


def test_a_stream_with_renames_extracts_whatever_the_engines_parallel_is(tmp_path: Path) -> None:
    """With two threads, mbstream fails a close after a rename when the last payload was the other thread's."""
    settings = EngineSettings(
        binary="mariadb-backup",
        stream_binary="mbstream",
        parallel=4,
        log_copy_interval_ms=10,
        prepare_memory=1 << 24,
        priority=Priority(0, "none"),
        standstill=10,
        extra_args=(),
        include=None,
    )
    login = Login(user="nobody", socket=None, host="localhost", port=3306, password=None)
    engine = StreamingEngine(MARIADB_BACKUP, settings, login, tmp_path / "work")
    moves = [whole("a", b"x") + rename("a", f"b{number}") + whole(f"c{number}", b"y") for number in range(RENAMES)]
    target = tmp_path / "target"
    target.mkdir()

    with engine.extract(target) as extraction:
        extraction.write(closing(*moves))
        extraction.finish()

    assert len(list(target.iterdir())) == 2 * RENAMES + 1

"""What the operator is told of a prepare that failed: the line that names the cause, however early it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import EngineError, ErrorCode
from tests.unit.engine.scripts import engine_of, script

CAUSE = "0 [ERROR] InnoDB: Attempted to open a previously opened tablespace"


def test_a_failed_prepare_names_its_cause_and_its_last_lines(tmp_path: Path) -> None:
    binary = script(tmp_path, f'echo "{CAUSE}" >&2\nseq 1 100 >&2\nexit 1')
    with pytest.raises(EngineError) as caught:
        engine_of(tmp_path, binary).prepare(tmp_path, None, last=True, cancellation=Cancellation())
    assert caught.value.code is ErrorCode.PREPARE_FAILED
    assert caught.value.message.endswith(f"ended with status 1: {CAUSE} | 96 | 97 | 98 | 99 | 100")

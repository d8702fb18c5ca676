"""store.bandwidth_limit_mib_s, seen from outside: what was moved took at least as long as the limit says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent import Agent
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

MIB = 1 << 20
LIMIT_MIB_S = 4.0
CREDIT_S = 0.25


def timed(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """In seconds."""
    began = time.monotonic()
    done = work()
    return time.monotonic() - began, done


def test_a_backup_and_its_restore_keep_to_the_bandwidth(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    """Retries are off: a wait that counted as one would fail the first chunk that does not fit the credit."""
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.noise ENGINE=InnoDB SELECT seq AS id, RANDOM_BYTES(1000) AS filler FROM mysql.seq_1_to_8000",
    )
    limited: dict[str, dict[str, object]] = {
        "stream": {"chunk_mib": 1, "memory_mib": 8},
        "store": {"bandwidth_limit_mib_s": LIMIT_MIB_S, "retry_for_s": 0},
    }
    agent = Agent(tmp_path / "agent", mariadb, extra=limited)

    backed_up, backup = timed(agent.backup)
    stored = sum((agent.store / name).stat().st_size for name in agent.stored_files())

    restored, _ = timed(lambda: agent.restore(backup["id"], tmp_path / "restored"))

    assert stored > 8 * MIB
    least = stored / MIB / LIMIT_MIB_S - CREDIT_S
    assert backed_up >= least
    assert restored >= least

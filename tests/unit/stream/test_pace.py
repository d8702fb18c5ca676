"""The compression level follows what limits the backup."""

from __future__ import annotations

import pytest

from backup_agent.stream.pace import Pace


def test_it_rises_with_a_slow_store_and_falls_with_a_busy_cpu_within_bounds() -> None:
    pace = Pace(2, adaptive=True)
    seen = []
    for _ in range(10):
        pace.store_limits()
        seen.append(pace.level)
    for _ in range(10):
        pace.cpu_limits()
        seen.append(pace.level)
    assert seen == [3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 8, 7, 6, 5, 4, 3, 2, 2, 2, 2]


@pytest.mark.parametrize(("level", "adaptive"), [(3, False), (12, True)])
def test_a_level_that_is_set_or_higher_than_worth_it_stays(level: int, *, adaptive: bool) -> None:
    pace = Pace(level, adaptive=adaptive)
    pace.store_limits()
    assert pace.level == level
    pace.cpu_limits()
    assert pace.level == level

"""When the watch looks at the server's tables, and what it takes from the engine's run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from backup_agent.domain.manifest import File
from backup_agent.engine.interface import EngineRun
from backup_agent.errors import ErrorCode, InstanceError, TakeAgainError
from backup_agent.instance.interface import Facts, Instance
from backup_agent.instance.table_files import TableFile
from backup_agent.operations.table_watch import TableWatch
from backup_agent.stream.mbstream import StreamParser
from tests.unit.manifests import LINEAGE

FACTS = Facts(
    version="10.11.19-MariaDB",
    datastore="mariadb",
    datadir=Path("/var/lib/mysql"),
    lineage=LINEAGE,
    lsn=1,
    replica=False,
    galera=False,
    data_at_rest_encryption=False,
    nontransactional_bytes=0,
    started=1,
    datadir_bytes=1,
)
CSV = "shop/orders.CSV"
COPIED = (File(path=CSV, size=100),)


@dataclass
class FakeRun:
    """`settle` is the moment when the last lock was got."""

    settled: bool = True
    locked_at: float | None = field(default_factory=time.monotonic)
    in_use: frozenset[tuple[str, str]] = frozenset()
    settle: Callable[[], None] = lambda: None

    def when_settled(self, call: Callable[[], None]) -> None:
        self.settle = call


class FakeInstance:
    """Shows one state of the tables after the other, and then the last one on and on."""

    def __init__(self, *states: dict[str, TableFile] | InstanceError) -> None:
        self._states = list(states)

    def table_files(self, datadir: Path) -> dict[str, TableFile]:
        assert datadir == FACTS.datadir
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, InstanceError):
            raise state
        return state


def csv(size: int, *, changed: float = -3600.0) -> dict[str, TableFile]:
    """The table's only file, changed so many seconds after now."""
    return {CSV: TableFile(size, time.time_ns() + int(changed * 1e9))}


def watch(run: FakeRun, *states: dict[str, TableFile] | InstanceError) -> TableWatch:
    made = TableWatch(cast("Instance", FakeInstance(*states)), FACTS, None)
    made.follow(cast("EngineRun", run))
    return made


def judge(made: TableWatch) -> str | None:
    return made.judge(StreamParser(), COPIED)


def test_what_is_deleted_after_the_locks_are_released_is_no_doubt() -> None:
    run = FakeRun()
    made = watch(run, csv(100), csv(100), csv(0, changed=10))
    run.settle()

    judge(made)


def test_a_table_that_had_shrunk_when_nobody_could_write_is_doubted() -> None:
    run = FakeRun()
    made = watch(run, csv(100), csv(0), csv(100))
    run.settle()

    with pytest.raises(TakeAgainError, match=r"shop/orders\.CSV has shrunk"):
        judge(made)


def test_without_a_settled_moment_a_table_that_has_shrunk_at_the_end_is_doubted() -> None:
    with pytest.raises(TakeAgainError, match=r"shop/orders\.CSV has shrunk"):
        judge(watch(FakeRun(), csv(100), csv(0)))


def test_a_table_written_after_the_lock_is_warned_of_unless_it_was_in_use_then() -> None:
    run = FakeRun()
    made = watch(run, csv(100), csv(100, changed=10))
    run.settle()
    assert "may need a repair when restored: shop/orders." in str(judge(made))

    run = FakeRun(in_use=frozenset({("shop", "orders")}))
    made = watch(run, csv(100), csv(100, changed=10))
    run.settle()
    assert judge(made) is None


def test_a_name_is_looked_up_as_the_server_encodes_it() -> None:
    path = "my@002dshop/a@0020b.CSV"
    run = FakeRun(in_use=frozenset({("my-shop", "a b")}))
    late = {path: TableFile(100, time.time_ns() + 10_000_000_000)}
    made = watch(run, late)
    run.settle()

    assert made.judge(StreamParser(), (File(path=path, size=100),)) is None


@pytest.mark.parametrize("run", [FakeRun(settled=False), FakeRun(locked_at=None)], ids=["too late", "not told"])
def test_writes_are_not_judged_when_the_moment_was_missed(run: FakeRun) -> None:
    made = watch(run, csv(100), csv(100, changed=10))
    run.settle()

    assert judge(made) is None


def test_a_look_that_failed_fails_the_backup_when_it_is_judged() -> None:
    run = FakeRun()
    broken = InstanceError(ErrorCode.DATADIR_UNREADABLE, "no more", "See the disk.")
    made = watch(run, csv(100), broken, csv(100))
    run.settle()

    with pytest.raises(InstanceError, match="no more"):
        judge(made)

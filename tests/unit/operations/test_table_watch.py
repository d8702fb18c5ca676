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
from backup_agent.instance.table_files import Files, TableFile
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
ARIA = "shop/orders.MAD"
both = pytest.mark.parametrize("path", [CSV, ARIA])


@dataclass
class FakeRun:
    """`freeze` and `settle` are the moments when the locks of BLOCK_DDL and of BLOCK_COMMIT were got."""

    frozen: bool = True
    settled: bool = True
    locked_at: float | None = field(default_factory=time.monotonic)
    in_use: frozenset[tuple[str, str]] = frozenset()
    freeze: Callable[[], None] = lambda: None
    settle: Callable[[], None] = lambda: None

    def when_frozen(self, call: Callable[[], None]) -> None:
        self.freeze = call

    def when_settled(self, call: Callable[[], None]) -> None:
        self.settle = call


class FakeInstance:
    """Shows one state of a table's file after the other, and then the last one on and on."""

    def __init__(self, path: str, *states: TableFile | InstanceError) -> None:
        self._path = path
        self._states = list(states)

    def table_files(self, datadir: Path, which: Files = Files.ALL) -> dict[str, TableFile]:
        assert datadir == FACTS.datadir
        if Path(self._path).suffix not in which.value:
            return {}
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, InstanceError):
            raise state
        return {self._path: state}


def of(size: int, *, changed: float = -3600.0) -> TableFile:
    """A file that was changed so many seconds after now."""
    return TableFile(size, time.time_ns() + int(changed * 1e9))


def watch(run: FakeRun, path: str, *states: TableFile | InstanceError) -> TableWatch:
    """Has seen what there is to see while the tables were locked."""
    made = TableWatch(cast("Instance", FakeInstance(path, *states)), FACTS, None)
    made.follow(cast("EngineRun", run))
    run.freeze()
    run.settle()
    return made


def judge(made: TableWatch, path: str) -> str | None:
    """What it says of a copy of 100 bytes."""
    return made.judge(StreamParser(), (File(path=path, size=100),))


@both
def test_what_is_deleted_after_the_locks_are_released_is_no_doubt(path: str) -> None:
    assert judge(watch(FakeRun(), path, of(100), of(100), of(0, changed=10)), path) is None


@both
def test_a_table_that_had_shrunk_when_nobody_could_write_is_doubted(path: str) -> None:
    with pytest.raises(TakeAgainError, match=rf"{path} has shrunk"):
        judge(watch(FakeRun(), path, of(100), of(0), of(100)), path)


@both
def test_without_such_a_moment_a_table_that_has_shrunk_at_the_end_is_doubted(path: str) -> None:
    made = TableWatch(cast("Instance", FakeInstance(path, of(100), of(0))), FACTS, None)
    with pytest.raises(TakeAgainError, match=rf"{path} has shrunk"):
        judge(made, path)


@both
def test_a_table_written_after_the_lock_is_warned_of_unless_it_was_in_use_then(path: str) -> None:
    states = (of(100), of(100, changed=10))
    assert "may need a repair when restored: shop/orders." in str(judge(watch(FakeRun(), path, *states), path))
    assert judge(watch(FakeRun(in_use=frozenset({("shop", "orders")})), path, *states), path) is None


def test_a_name_is_looked_up_as_the_server_encodes_it() -> None:
    path = "my@002dshop/a@0020b.CSV"
    run = FakeRun(in_use=frozenset({("my-shop", "a b")}))

    assert judge(watch(run, path, of(100), of(100, changed=10)), path) is None


@pytest.mark.parametrize(
    ("run", "path"),
    [
        pytest.param(FakeRun(frozen=False), CSV, id="too late"),
        pytest.param(FakeRun(settled=False), ARIA, id="too late for Aria"),
        pytest.param(FakeRun(locked_at=None), CSV, id="not told"),
    ],
)
def test_writes_are_not_judged_when_the_moment_was_missed(run: FakeRun, path: str) -> None:
    assert judge(watch(run, path, of(100), of(100, changed=10)), path) is None


def test_the_server_s_own_log_may_have_grown_between_the_look_and_its_copy() -> None:
    path = "mysql/general_log.CSV"

    assert judge(watch(FakeRun(), path, of(10), of(50), of(200)), path) is None


@both
def test_a_look_that_failed_fails_the_backup_when_it_is_judged(path: str) -> None:
    broken = InstanceError(ErrorCode.DATADIR_UNREADABLE, "no more", "See the disk.")

    with pytest.raises(InstanceError, match="no more"):
        judge(watch(FakeRun(), path, of(100), broken, of(100)), path)

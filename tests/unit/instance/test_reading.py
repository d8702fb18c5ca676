"""Readers and removers of backups on one host, with real kernel locks."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from backup_agent.errors import BusyError, ErrorCode
from backup_agent.instance.reading import ReadingLock
from tests.faults.waiting import until

INSTANCE = str(uuid.uuid4())
FULL, CHILD, OTHER = (str(uuid.uuid4()) for _ in range(3))


@pytest.fixture
def lock(tmp_path: Path) -> ReadingLock:
    return ReadingLock(tmp_path / "run", INSTANCE)


def test_a_chain_can_be_read_by_several(lock: ReadingLock) -> None:
    with lock.reading([FULL, CHILD]), lock.reading([FULL]):
        pass


def test_a_backup_of_a_chain_that_is_read_is_not_removed(lock: ReadingLock) -> None:
    with lock.reading([FULL, CHILD]):
        with pytest.raises(BusyError, match=f"backup {FULL} is being read") as refused, lock.removing([OTHER, FULL]):
            pytest.fail("it was removed under its reader")
        assert refused.value.code is ErrorCode.BACKUP_BUSY
    with lock.removing([FULL, CHILD]):
        pass


def test_another_chain_is_removed_while_one_is_read(lock: ReadingLock) -> None:
    with lock.reading([FULL, CHILD]), lock.removing([OTHER]):
        pass


def test_a_backup_that_is_being_removed_is_not_read(lock: ReadingLock) -> None:
    with (
        lock.removing([FULL]),
        pytest.raises(BusyError, match=f"backup {FULL} is being removed"),
        lock.reading([FULL, CHILD]),
    ):
        pytest.fail("it was read while it went")


def test_the_readers_of_two_instances_do_not_meet(tmp_path: Path) -> None:
    one, other = (ReadingLock(tmp_path, str(uuid.uuid4())) for _ in range(2))
    with one.reading([FULL]), other.removing([FULL]):
        pass


def test_a_killed_reader_reads_no_more(lock: ReadingLock, tmp_path: Path) -> None:
    reached = tmp_path / "reached"
    program = (
        "import sys, time, pathlib\n"
        "from backup_agent.instance.reading import ReadingLock\n"
        "with ReadingLock(pathlib.Path(sys.argv[1]), sys.argv[2]).reading([sys.argv[3]]):\n"
        "    pathlib.Path(sys.argv[4]).touch()\n"
        "    time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", program, str(lock.path.parent), INSTANCE, FULL, str(reached)]
    with subprocess.Popen(argv) as reader:
        until(reached.exists, "the reader")
        with pytest.raises(BusyError), lock.removing([FULL]):
            pytest.fail("it was removed under its reader")
        reader.kill()
    with lock.removing([FULL]):
        pass

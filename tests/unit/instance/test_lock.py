"""The lock as its users see it, with real processes: what the kernel promises can't be faked."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InstanceError
from backup_agent.instance.lock import InstanceLock, LockHolder

INSTANCE = "8b9c6a51-9a4f-4c5e-8f43-0f6d5b1a2c3d"
BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
SINCE = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.errors import BusyError
sys.stdin.readline()
try:
    with InstanceLock(Path(sys.argv[1]), sys.argv[2]).acquire(LockHolder.here("restore", None, datetime.now(UTC))):
        print("held", flush=True)
        sys.stdin.readline()
except BusyError:
    print("busy", flush=True)
"""


def me(command: str = "backup") -> LockHolder:
    return LockHolder.here(command, BACKUP, SINCE)


@contextmanager
def contender(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that tries the lock at its first line of input and lets go at the second."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory), INSTANCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_holder_is_named_to_whoever_comes_next(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    with lock.acquire(me()), pytest.raises(BusyError) as caught, lock.acquire(me("restore")):
        pytest.fail("two hold the lock")
    assert caught.value.code is ErrorCode.INSTANCE_BUSY
    assert caught.value.message == (
        f"instance is busy: backup of backup {BACKUP}, pid {os.getpid()}, since 2026-03-04T05:06:07Z"
    )


def test_whoever_only_looks_sees_the_holder_and_disturbs_nobody(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    assert lock.holder() is None
    assert list(tmp_path.iterdir()) == []
    with lock.acquire(me()):
        assert lock.holder() == me()
    assert lock.holder() is None
    with contender(tmp_path) as other:
        go(other)
        assert answer(other) == "held"
        found = lock.holder()
        assert found is not None
        assert (found.command, found.pid) == ("restore", other.pid)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert lock.holder() is None


def test_a_lock_file_that_can_not_be_looked_at_is_an_error(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    lock.path.mkdir()
    with pytest.raises(InstanceError) as caught:
        lock.holder()
    assert caught.value.code is ErrorCode.LOCK_UNUSABLE


def test_the_lock_can_be_taken_again_after_its_release_and_after_an_error(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    with lock.acquire(me()):
        pass
    with pytest.raises(ZeroDivisionError), lock.acquire(me()):
        _ = 1 // 0
    with lock.acquire(me()) as cancellation:
        assert not cancellation.cancelled


def test_another_instance_has_another_lock(tmp_path: Path) -> None:
    other = InstanceLock(tmp_path, BACKUP)
    with InstanceLock(tmp_path, INSTANCE).acquire(me()), other.acquire(me()):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_holder_frees_the_lock_at_once_and_is_not_named_again(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    with contender(tmp_path) as other:
        go(other)
        assert answer(other) == "held"
        with pytest.raises(BusyError, match=f"restore, pid {other.pid}, since "), lock.acquire(me()):
            pytest.fail("two hold the lock")
        other.send_signal(signal.SIGKILL)
        other.wait()
        with lock.acquire(me()), pytest.raises(BusyError, match=f"pid {os.getpid()}"), lock.acquire(me()):
            pytest.fail("two hold the lock")


def test_of_several_processes_at_once_one_gets_it(tmp_path: Path) -> None:
    with contender(tmp_path) as one, contender(tmp_path) as two, contender(tmp_path) as three:
        for process in (one, two, three):
            go(process)
        assert sorted(answer(process) for process in (one, two, three)) == ["busy", "busy", "held"]


def test_a_program_started_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    with lock.acquire(me()):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with lock.acquire(me()):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def replace(path: Path) -> None:
    path.with_suffix(".new").write_text("")
    path.with_suffix(".new").rename(path)


@pytest.mark.parametrize("lose", [Path.unlink, replace])
def test_a_lock_file_removed_or_replaced_cancels_the_work(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    lock = InstanceLock(tmp_path, INSTANCE, watch_seconds=0.01)
    cancellation = Cancellation()
    with lock.acquire(me(), cancellation) as yielded:
        assert yielded is cancellation
        lose(lock.path)
        assert cancellation.wait(10)
        with pytest.raises(InstanceError) as caught:
            cancellation.check()
    assert caught.value.code is ErrorCode.LOCK_LOST


def test_the_watching_thread_ends_with_the_lock(tmp_path: Path) -> None:
    before = threading.active_count()
    with InstanceLock(tmp_path, INSTANCE).acquire(me()):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_holder_that_never_names_itself_is_still_a_holder(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path, INSTANCE)
    with lock.acquire(me()):
        lock.path.write_text("{")
        with pytest.raises(BusyError, match="another process holds its lock"), lock.acquire(me()):
            pytest.fail("two hold the lock")


def test_the_directory_is_made_and_the_file_is_for_owner_and_group(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "run" / "backup-agent", INSTANCE)
    with lock.acquire(me()):
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o660
        assert stat.S_IMODE(lock.path.parent.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_a_file_made_by_root_belongs_to_the_directory_s_owner(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    os.chown(directory, 1234, 5678)
    lock = InstanceLock(directory, INSTANCE)
    with lock.acquire(me()):
        assert (lock.path.stat().st_uid, lock.path.stat().st_gid) == (1234, 5678)


def under_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


def as_a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "precious")


def with_another_name(path: Path) -> None:
    path.write_text("precious")
    path.with_suffix(".other").hardlink_to(path)


@pytest.mark.parametrize("spoil", [under_a_file, as_a_link, with_another_name, Path.mkdir])
def test_an_unusable_lock_file_is_an_error_with_a_hint(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    lock = InstanceLock(tmp_path / "locks", INSTANCE)
    lock.path.parent.mkdir()
    spoil(lock.path)
    with pytest.raises(BackupAgentError) as caught, lock.acquire(me()):
        pytest.fail("it was locked")
    assert caught.value.code is ErrorCode.LOCK_UNUSABLE
    assert str(lock.path) in caught.value.message
    assert "instance.runtime_dir" in caught.value.hint

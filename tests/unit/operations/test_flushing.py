"""What is written goes to disk meanwhile, and a disk that can't take it is told of."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backup_agent.operations.flushing import flushed_meanwhile
from tests.faults.waiting import until

LARGE = 33 << 20


def test_files_that_come_and_go_do_no_harm(tmp_path: Path) -> None:
    with flushed_meanwhile(tmp_path / "not there yet"):
        (tmp_path / "not there yet").mkdir()
        for number in range(300):
            path = tmp_path / "not there yet" / str(number)
            path.write_bytes(b"x")
            path.unlink()


def test_a_large_file_is_flushed_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", note)
    with flushed_meanwhile(tmp_path), (tmp_path / "ibdata1").open("wb", buffering=0) as file:
        file.truncate(LARGE)
        until(lambda: len(flushed) == 1, "the first flush")
        file.truncate(2 * LARGE)
        until(lambda: len(flushed) == 2, "the second flush")
    assert flushed == [LARGE, 2 * LARGE]


def test_a_flush_that_fails_is_raised_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = []

    def fail(descriptor: int) -> None:
        failed.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)

    def fill() -> None:
        with flushed_meanwhile(tmp_path):
            with (tmp_path / "ibdata1").open("wb") as file:
                file.truncate(LARGE)
            until(lambda: failed, "the failure")

    with pytest.raises(OSError, match="Input/output error"):
        fill()
    assert len(failed) == 1

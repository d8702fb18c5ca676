"""The spool: bounded, private, gone at the end, and no trap when the disk fails."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.stream.spool import Spool
from backup_agent.stream.spool_bounds import SpoolBounds, SpoolSettings, bounds

KIB, GIB = 1 << 10, 1 << 30
ROOMY = SpoolBounds(limit=100 * KIB, reserve=40 * KIB, floor=0)
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - what shutil.disk_usage returns


class Disk:
    """What the file system says of itself, and how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
        self.total, self.free, self.looks = total, free, 0
        monkeypatch.setattr(shutil, "disk_usage", self._usage)

    def _usage(self, _: Path) -> Usage:
        self.looks += 1
        return Usage(self.total, self.total - self.free, self.free)


def separate(monkeypatch: pytest.MonkeyPatch, datadir: Path) -> None:
    """Makes `datadir` look as if it were on a disk of its own."""
    real = Path.stat

    def moved(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        result = real(path, follow_symlinks=follow_symlinks)
        if path != datadir:
            return result
        fields = list(result)
        fields[stat.ST_DEV] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", moved)


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_on_a_disk_of_its_own_it_may_take_a_quarter_of_what_is_free(
    tmp_path: Path, datadir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, total=100 * GIB, free=80 * GIB)
    separate(monkeypatch, datadir)
    assert bounds(SpoolSettings(tmp_path / "s"), datadir, GIB) == SpoolBounds(limit=20 * GIB, reserve=GIB, floor=0)


def test_beside_the_data_it_takes_the_reserve_and_little_more(
    tmp_path: Path, datadir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, total=100 * GIB, free=80 * GIB)
    found = bounds(SpoolSettings(tmp_path / "s"), datadir, GIB)
    assert found == SpoolBounds(limit=3 * GIB, reserve=GIB, floor=10 * GIB)


@pytest.mark.parametrize(
    ("total", "free", "limit", "floor"),
    [
        (100, 11, 1, 10),  # a tenth stays free
        (20, 6, 1, 5),  # 5 GiB stay free
        (20, 4, 0, 5),
    ],
)
def test_beside_the_data_a_floor_of_free_space_stays(
    tmp_path: Path, datadir: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, limit: int, floor: int
) -> None:
    Disk(monkeypatch, total=total * GIB, free=free * GIB)
    found = bounds(SpoolSettings(tmp_path / "s"), datadir, 3 * GIB)
    assert found == SpoolBounds(limit=limit * GIB, reserve=limit * GIB, floor=floor * GIB)


def test_the_operator_may_set_the_bounds(tmp_path: Path, datadir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, total=100 * GIB, free=50 * GIB)
    settings = SpoolSettings(tmp_path / "s", limit=45 * GIB, floor=10 * GIB)
    assert bounds(settings, datadir, 0) == SpoolBounds(limit=40 * GIB, reserve=0, floor=10 * GIB)


def test_a_directory_that_cannot_be_made_is_told_before_the_start(tmp_path: Path, datadir: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstanceError, match=r"the spool's directory .*/file/s can't be used") as caught:
        bounds(SpoolSettings(tmp_path / "file" / "s"), datadir, 0)
    assert caught.value.code is ErrorCode.SPOOL_UNUSABLE


def test_its_files_are_private_and_gone_when_it_is_left(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", ROOMY) as spool:
        file = spool.claim(KIB, locked=False)
        assert file is not None
        file.write(b"secret")
        (path,) = (tmp_path / "s").iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not (tmp_path / "s").exists()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    (tmp_path / "s" / "00000001").write_bytes(b"left")
    with Spool(tmp_path / "s", ROOMY):
        assert list((tmp_path / "s").iterdir()) == []
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_the_reserve_is_for_the_time_when_tables_are_locked(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", ROOMY) as spool:
        assert spool.claim(60 * KIB, locked=False) is not None
        assert spool.claim(KIB, locked=False) is None
        assert spool.claim(40 * KIB, locked=True) is not None
        assert spool.claim(KIB, locked=True) is None


def test_what_is_not_used_or_used_no_more_is_free_again(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", ROOMY) as spool:
        file = spool.claim(60 * KIB, locked=False)
        assert file is not None
        file.write(bytes(20 * KIB))
        file.finish()
        assert spool.claimed == 20 * KIB
        file.remove()
        file.remove()
        assert spool.claimed == 0


def test_a_disk_that_fills_from_elsewhere_is_noticed_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, now = Disk(monkeypatch, total=GIB, free=200 * KIB), 0.0
    limits = SpoolBounds(limit=GIB, reserve=0, floor=100 * KIB)
    with Spool(tmp_path / "s", limits, clock=lambda: now) as spool:
        assert spool.claim(10 * KIB, locked=False) is not None
        assert spool.claim(10 * KIB, locked=False) is not None
        assert disk.looks == 1
        disk.free = 100 * KIB
        now = 1.0
        assert spool.claim(10 * KIB, locked=True) is None


@pytest.mark.parametrize("veiled", [False, True])
def test_what_was_written_is_read_back(tmp_path: Path, *, veiled: bool) -> None:
    content = os.urandom(3 * 1024 * KIB + 7)
    with Spool(tmp_path / "s", SpoolBounds(limit=GIB, reserve=0, floor=0), veiled=veiled) as spool:
        file = spool.claim(len(content), locked=False)
        assert file is not None
        file.write(content[:1000])
        file.write(memoryview(content)[1000:])
        file.finish()
        assert b"".join(map(bytes, file.pieces())) == content
        assert b"".join(map(bytes, file.pieces())) == content


def test_the_disk_is_told_early_to_begin_with_what_may_wait_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def observed(descriptor: int, start: int, size: int, advice: int) -> None:
        advise(descriptor, start, size, advice)
        begun.append((start, size))

    monkeypatch.setattr(os, "posix_fadvise", observed)
    content = os.urandom(512 * KIB)
    with Spool(tmp_path / "s", SpoolBounds(limit=GIB, reserve=0, floor=0)) as spool:
        for soon, expected in ((True, [(0, 2048 * KIB), (2048 * KIB, 2048 * KIB)]), (False, [])):
            file = spool.claim(9 * len(content), locked=False)
            assert file is not None
            for _ in range(9):
                (file.write_soon if soon else file.write)(content)
            file.finish()
            assert begun == expected
            assert b"".join(map(bytes, file.pieces())) == 9 * content
            begun.clear()


def test_under_a_veil_nothing_on_disk_is_legible_or_alike(tmp_path: Path) -> None:
    content = b"Legible." * KIB
    with Spool(tmp_path / "s", ROOMY, veiled=True) as spool:
        for _ in range(2):
            file = spool.claim(len(content), locked=True)
            assert file is not None
            file.write(content)
            file.finish()
        first, second = (path.read_bytes() for path in (tmp_path / "s").iterdir())
    assert len(first) == len(second) == len(content)
    assert b"Legible" not in first + second
    blocks = [data[start : start + 16] for data in (first, second) for start in range(0, len(data), 16)]
    assert len(set(blocks)) == len(blocks)


def test_another_backup_cannot_read_what_lay_under_the_veil_of_one_before(tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        with Spool(tmp_path / "s", ROOMY, veiled=True) as spool:
            file = spool.claim(KIB, locked=True)
            assert file is not None
            file.write(bytes(KIB))
            written.append(next((tmp_path / "s").iterdir()).read_bytes())
    assert written[0] != written[1]


def test_a_disk_that_failed_is_used_no_more(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", ROOMY) as spool:
        spool.give_up(OSError(errno.EIO, "Input/output error"))
        assert spool.claim(KIB, locked=True) is None

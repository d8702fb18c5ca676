"""What a backup's spool may take of the disk, and where: looked at, made and tidied before there is a file in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from backup_agent import directories
from backup_agent.errors import ErrorCode, InstanceError

_GIB = 1 << 30
_SHARE = 4
"""A quarter of what is free when a backup begins (design, section 6)."""
_BESIDE_RESERVE = 2 * _GIB
_FLOOR_SHARE = 10
_FLOOR = 5 * _GIB
MODE = 0o700


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Sizes in bytes; None takes the default that `bounds` computes."""

    directory: Path
    limit: int | None = None
    floor: int | None = None


@dataclass(frozen=True, slots=True)
class SpoolBounds:
    """What one backup may take of the disk, in bytes.

    `reserve` is the part of `limit` that only the phase of locked tables may use; `floor` has to stay free on the disk.
    """

    limit: int
    reserve: int
    floor: int


def bounds(settings: SpoolSettings, datadir: Path, nontransactional: int) -> SpoolBounds:
    """The bounds for a backup of `datadir` with so many bytes of non-transactional tables; makes the directory.

    By default a quarter of the free space; on the file system of the data directory no more than the reserve and 2 GiB,
    and there the larger of a tenth and 5 GiB stays free. Raises InstanceError (`spoolunusable`).
    """
    try:
        directories.make(settings.directory, MODE)
    except OSError as error:
        raise unusable(settings.directory, error) from error
    return foreseen(settings, datadir, nontransactional)


def foreseen(settings: SpoolSettings, datadir: Path, nontransactional: int) -> SpoolBounds:
    """What `bounds` would find; makes nothing."""
    there = place(settings)
    try:
        shared = there.stat().st_dev == datadir.stat().st_dev
        disk = shutil.disk_usage(there)
    except OSError as error:
        raise unusable(settings.directory, error) from error
    floor = settings.floor
    if floor is None:
        floor = max(disk.total // _FLOOR_SHARE, _FLOOR) if shared else 0
    limit = settings.limit
    if limit is None:
        limit = disk.free // _SHARE
        if shared:
            limit = min(limit, nontransactional + _BESIDE_RESERVE)
    limit = max(0, min(limit, disk.free - floor))
    return SpoolBounds(limit=limit, reserve=min(limit, nontransactional), floor=floor)


def place(settings: SpoolSettings) -> Path:
    """Its directory, or the nearest one above it that is there. Makes nothing. Raises InstanceError
    (`spoolunusable`) where it could not be made or written.
    """
    try:
        return directories.where(settings.directory)
    except OSError as error:
        raise unusable(settings.directory, error) from error


def unusable(directory: Path, error: OSError) -> InstanceError:
    return InstanceError(
        ErrorCode.SPOOL_UNUSABLE,
        f"the spool's directory {directory} can't be used: {error.strerror or error}",
        "Make it and give it to the agent's user, or set spool.dir to a directory on a disk with room.",
    )


def tidy(settings: SpoolSettings) -> None:
    """Removes what a killed backup has left. The caller holds the instance's lock. Raises InstanceError."""
    try:
        shutil.rmtree(settings.directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(settings.directory, error) from error

"""Small disks: a file system of a few MiB for root, who alone may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IS_ROOT = os.geteuid() == 0


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[Path]:
    """`directory`, made and mounted as a memory file system of that size. Needs root."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def remount_read_only(directory: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)


def files_limited_to(size: int) -> list[str]:
    """Starts what follows with files of at most `size` bytes: what is full for any user, as a quota is."""
    return ["prlimit", f"--fsize={size}"]

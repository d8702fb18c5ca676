"""The private directory of an instance's engine: its LSN files and temporaries. Never anything secret.

Its name is fixed by the instance, and whoever uses it holds the instance's lock: what a killed process left there is
removed by the next one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

from backup_agent import directories
from backup_agent.errors import EngineError, ErrorCode

_MODE = 0o700


class WorkDir:
    """Made afresh (0700) when entered, removed with everything in it when left."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lsn(self) -> Path:
        return self.path / "lsn"

    def __enter__(self) -> Self:
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
            directories.make(self.lsn, _MODE)
            self.path.chmod(_MODE)
        except OSError as error:
            raise EngineError(
                ErrorCode.ENGINE_FAILED,
                f"can't make the engine's temporary directory {self.path}: {error.strerror}",
                "Free some space there, or set instance.runtime_dir to a directory this user can write.",
            ) from error
        return self

    def remove(self) -> None:
        """What can't be removed is left to the next one who enters."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.remove()

"""Where the programs of the contenders are: on the path, or in the environments that setup/bench.sh makes."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-bench"
_HOME = {"aws": "aws", "juicefs": "s3", "swift": "swift", "swift-proxy-server": "swift"}
"""Which environment has a program, where several might."""


def find(program: str) -> str | None:
    """Its path, or None. What setup/bench.sh installed wins over what happens to be on the path."""
    home = _HOME.get(program)
    own = ENVIRONMENTS / home / "bin" / program if home else None
    return str(own) if own is not None and own.exists() else shutil.which(program)


def path_of(program: str) -> str:
    """Raises FileNotFoundError when it is missing."""
    found = find(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return found


def python_of(environment: str) -> str | None:
    """The interpreter of one of our environments, or None when it was not made."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    return str(python) if python.exists() else None


def why_missing(program: str) -> str:
    """What setup/bench.sh said when it could not install `program`, in a line."""
    reason = ENVIRONMENTS / f"{_HOME.get(program, program)}.failed"
    told = reason.read_text("utf-8", "replace").split("\n") if reason.exists() else []
    last = next((line.strip() for line in reversed(told) if line.strip()), "")
    return f"{program} is not installed" + (f": {last}" if last else "")

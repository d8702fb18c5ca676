"""The API's unit as `make install-api` puts it, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MOST_EXPOSURE = 1.5


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120, env=environment or None
    )


def test_the_unit_is_sound_hardened_and_gone_after_an_uninstall(tmp_path: Path) -> None:
    assert run("make", "-s", "install-api", f"DESTDIR={tmp_path}").returncode == 0
    directory = tmp_path / "usr/local/lib/systemd/system"
    unit = directory / "backup-api.service"
    found = run("systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", unit.name)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert exposure is not None, found.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE
    # A program that is there, or systemd finds fault with that.
    unit.write_text(unit.read_text().replace("/opt/backup-agent/bin/backup-agent", str(shutil.which("true"))))
    verified = run(
        *("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit.name),
        SYSTEMD_UNIT_PATH=f"{directory}:",
        PATH="/usr/bin:/bin",
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "backup-api" in line]) == (0, [])
    config = tmp_path / "etc/backup-agent/backup-api.toml"
    assert config.stat().st_mode & 0o777 == 0o640
    assert run("make", "-s", "uninstall-api", f"DESTDIR={tmp_path}").returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [config]

"""The units as `make install` puts them, judged by systemd's own tools; no systemd needs to run for that."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RUNS_THE_AGENT = tuple(
    f"backup-agent{name}.service" for name in ("", "@", "-full", "-incremental", "-expire", "-verify")
)
TIMERS = tuple(f"backup-agent-{name}.timer" for name in ("full", "incremental", "expire", "verify"))
HELPERS = ("backup-agent-guard", "backup-agent-power")
UNITS = (*RUNS_THE_AGENT, *TIMERS, *(f"{helper}@.{kind}" for helper in HELPERS for kind in ("service", "path")))
MOST_EXPOSURE = 2.0


def run(*argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120, env=env)


def make(*arguments: str) -> str:
    done = run("make", "-s", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's files after `make install`."""
    root = tmp_path_factory.mktemp("root")
    make("install", f"DESTDIR={root}")
    return root


def units(root: Path) -> Path:
    return root / "usr/local/lib/systemd/system"


def instance_of(unit: str) -> str:
    return unit.replace("@.", "@8b9c6a51-9a4f-4c5e-8f43-0f6d5b1a2c3d.")


def test_everything_is_installed_where_systemd_finds_it(root: Path) -> None:
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {
        *(f"usr/local/lib/systemd/system/{unit}" for unit in UNITS),
        *(f"usr/local/lib/systemd/system/{unit}.d/10-hardening.conf" for unit in RUNS_THE_AGENT),
        *(f"usr/local/libexec/{helper}" for helper in HELPERS),
        "etc/sysusers.d/backup-agent.conf",
        "etc/tmpfiles.d/backup-agent.conf",
        "etc/backup-agent/backup-agent.toml",
    }


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/prefix")
    directory = tmp_path / "prefix/lib/systemd/system"
    for unit in directory.glob("*.service"):  # programs that are there, or it finds fault with that
        text = unit.read_text().replace("/prefix/", f"{tmp_path}/prefix/")
        unit.write_text(text.replace("/opt/backup-agent/bin/backup-agent", str(shutil.which("true"))))
    done = run(
        *("systemd-analyze", "verify", "--man=no", "--recursive-errors=no"),
        *map(instance_of, UNITS),
        env={"SYSTEMD_UNIT_PATH": f"{directory}:", "PATH": "/usr/bin:/bin"},
    )
    ours = [line for line in done.stderr.splitlines() if "backup-agent" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.endswith(".service")])
def test_a_unit_is_exposed_no_more_than_it_must_be(root: Path, unit: str) -> None:
    done = run("systemd-analyze", "security", "--offline=true", f"--root={root}", instance_of(unit))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("unit", RUNS_THE_AGENT)
def test_a_unit_whose_shared_restrictions_are_missing_still_does_not_run_as_root(root: Path, unit: str) -> None:
    assert "User=backup-agent\n" in (units(root) / unit).read_text()


@pytest.mark.parametrize("timer", TIMERS)
def test_a_timer_names_days_that_systemd_knows(root: Path, timer: str) -> None:
    text = (units(root) / timer).read_text()
    found = re.search(r"^OnCalendar=(.*)$", text, re.MULTILINE)
    assert found is not None
    assert run("systemd-analyze", "calendar", found[1]).returncode == 0


def test_a_second_install_keeps_the_configuration_and_its_mode(tmp_path: Path) -> None:
    make("install", f"DESTDIR={tmp_path}")
    config = tmp_path / "etc/backup-agent/backup-agent.toml"
    assert config.stat().st_mode & 0o777 == 0o600
    config.write_text("# mine\n")
    make("install", f"DESTDIR={tmp_path}")
    assert config.read_text() == "# mine\n"


def test_uninstall_leaves_the_configuration_alone_and_nothing_else(tmp_path: Path) -> None:
    make("install", f"DESTDIR={tmp_path}")
    make("uninstall", f"DESTDIR={tmp_path}")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["backup-agent.toml"]
    assert not list(units(tmp_path).iterdir())


def test_install_says_what_comes_next(tmp_path: Path) -> None:
    said = make("install", f"DESTDIR={tmp_path}")
    assert "backup-agent config check" in said
    assert "systemctl enable --now backup-agent.service" in said


@pytest.mark.parametrize("unit", ["../mariadb.service", "mariadb", ".service", ""])
@pytest.mark.parametrize(
    ("words", "variable"),
    [(("backup-agent-guard", "hold"), "GUARDED_UNIT"), (("backup-agent-power",), "POWERED_UNIT")],
)
def test_root_s_helpers_refuse_what_is_no_service(words: tuple[str, ...], variable: str, unit: str) -> None:
    script, *arguments = words
    path = str(REPOSITORY / "systemd" / script)
    done = run("sh", path, *arguments, "an-instance", env={variable: unit, "PATH": "/usr/bin:/bin"})
    assert done.returncode != 0
    assert variable in done.stderr

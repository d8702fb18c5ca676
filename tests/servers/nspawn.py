"""A private, throw-away host with a real systemd: this machine's /usr and nothing else of it, booted by systemd-nspawn.

Everything but /usr is in memory, and /etc is empty; the network is this machine's, for the private servers on loopback.
It is killed when its context is
left, and by the kernel when the thread that started it ends (PDEATHSIG). Only root can boot one; `why_not` tells.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import which
from typing import Self

import backup_agent
from tests.faults.waiting import until

BOOT_SECONDS = 240.0
COMMAND_SECONDS = 180.0
_CGROUPS = Path("/sys/fs/cgroup")
_AGENT = """#!/bin/sh
export LD_LIBRARY_PATH={python}/lib PYTHONPATH=/mnt/source:/mnt/packages PYTHONDONTWRITEBYTECODE=1
exec {python}/bin/python{version} -m backup_agent "$@"
"""


def why_not() -> str | None:
    """Why no such host can be booted here, None when it can."""
    if os.geteuid() != 0:
        return "systemd-nspawn needs root"
    if which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (Debian: systemd-container)"
    if not Path("/usr/bin").is_dir() or not Path("/bin").is_symlink():
        return "the host's /usr is not merged, so it can't be booted alone"
    if not _hierarchies():
        return "no cgroup hierarchy can be written here"
    return None


class Host:
    """`base` gets its console's output. `files` (content by absolute path) are there before anything is started."""

    def __init__(self, base: Path, *, files: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.name = f"backup-agent-{uuid.uuid4().hex[:12]}"
        self.console = base / "console.log"
        self._tree = base / "tree"
        self._files = {"/etc/systemd/system-preset/00-none.preset": "disable *\n", **(files or {})}
        self._groups = [hierarchy / self.name for hierarchy in _hierarchies()]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def add_tree(self, tree: Path) -> None:
        """Copies a directory over the root of the running host."""
        archive = subprocess.run(["tar", "-C", str(tree), "-cf", "-", "."], check=True, capture_output=True).stdout
        subprocess.run([*self._enter(), "tar", "-C", "/", "--no-overwrite-dir", "-xf", "-"], check=True, input=archive)

    def write(self, path: str, content: str, *, mode: int = 0o644) -> None:
        """A file of the running host, its directories made."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.sh(script, path, f"{mode:o}", stdin=content)

    def exists(self, path: str) -> bool:
        return self.run("test", "-e", path, check=False).returncode == 0

    def sh(self, script: str, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-c", script, "sh", *arguments, stdin=stdin, check=check)

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command there, as root."""
        done = subprocess.run(
            [*self._enter(), *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"},
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What a unit and systemd said of it, for a test that fails."""
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", f"--unit={unit}").stdout

    def boot(self) -> Self:
        """Returns when systemd has nothing more to start."""
        for path, content in self._files.items():
            file = self._tree / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.base.mkdir(parents=True, exist_ok=True)
        for group in self._groups:
            group.mkdir()
        with self.console.open("wb") as console:
            self._process = subprocess.Popen(
                self._nspawn(), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        try:
            until(self._is_up, "the end of the host's boot", BOOT_SECONDS)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.console.read_text('utf-8', 'replace')}") from error
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """Everything in it ends at once."""
        if self._process is not None:
            for child in self._children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        for group in self._groups:
            until(partial(_removed, group), f"the end of {group}")

    def __enter__(self) -> Self:
        return self.boot()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _nspawn(self) -> list[str]:
        # A shell, because it must have entered the control groups before it becomes systemd-nspawn.
        enter = (
            'for group; do [ "$group" = -- ] && break; echo $$ > "$group/cgroup.procs"; shift; done; shift; exec "$@"'
        )
        return [
            *("setpriv", "--pdeathsig", "KILL", "sh", "-ec", enter, "sh", *map(str, self._groups), "--"),
            *("systemd-nspawn", "--quiet", "--boot", "--directory=/", "--volatile=yes", f"--machine={self.name}"),
            *("--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"),
            *("--timezone=off", "--resolv-conf=off", "--settings=no"),
            *(f"--bind-ro={self._tree / path.lstrip('/')}:{path}" for path in self._files),
            *_agent_binds(),
            *("systemd.unit=multi-user.target", "systemd.firstboot=off"),
            *(f"systemd.mask={unit}" for unit in ("systemd-firstboot.service", "systemd-networkd.service")),
        ]

    def _enter(self) -> list[str]:
        if not self._leader:
            raise RuntimeError("the host was not booted")
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", "--target", str(self._leader), *namespaces, "--"]

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {self._process.returncode}")
        # Looked up anew each time: it begins with a helper of its own.
        self._leader = next(iter(self._children()), 0)
        if not self._leader:
            return False
        state = self.systemctl("is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def _children(self) -> list[int]:
        assert self._process is not None
        return [
            int(child)
            for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        ]


def agent_program() -> str:
    """A script that runs this working copy's agent, for `/opt/backup-agent/bin/backup-agent` of a host."""
    python = "/usr" if sys.base_prefix == "/usr" else "/mnt/python"
    return _AGENT.format(python=python, version=f"{sys.version_info.major}.{sys.version_info.minor}")


def _agent_binds() -> Sequence[str]:
    places = {
        Path(backup_agent.__file__).parents[1]: "/mnt/source",
        Path(sysconfig.get_paths()["purelib"]): "/mnt/packages",
    }
    if sys.base_prefix != "/usr":
        places[Path(sys.base_prefix)] = "/mnt/python"
    return [f"--bind-ro={source}:{target}" for source, target in places.items()]


def _hierarchies() -> list[Path]:
    """Where a group of our own keeps the host apart from others: systemd-nspawn makes its own below its caller's."""
    places = (_CGROUPS, _CGROUPS / "systemd", _CGROUPS / "unified")
    return [place for place in places if os.access(place / "cgroup.procs", os.W_OK)]


def _removed(group: Path) -> bool:
    """Removes a control group with all below it; False while a process is left in it."""
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(directory)  # noqa: PTH106 - Path.rmdir is the same, and os.walk gives strings
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return not group.exists()

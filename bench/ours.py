"""backup-agent as a contender: its command line, on a configuration that leaves everything to the defaults."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.contenders import OURS, OURS_ENCRYPTED, RECIPIENT, BrokenError, Run, StoreKind
from bench.measure import Measured, measure
from bench.stores import BUCKET, REGION
from tests.servers.juicefs import ACCESS_KEY, SECRET_KEY
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER


def configure(run: Run, *, encrypted: bool = False) -> Path:
    """Writes a configuration for `run`; a directory is the store where there is no S3."""
    url = f"s3://{BUCKET}/{run.prefix}" if run.stores.s3 else (run.directory / "store").as_uri()
    lines = [
        "[instance]",
        f'id = "{uuid.uuid4()}"',
        'account_id = "bench"',
        f'socket = "{run.server.socket}"',
        f'user = "{AGENT_USER}"',
        f"password = {json.dumps(AGENT_PASSWORD)}",
        f'runtime_dir = "{run.directory}/run"',
        "[journal]",
        f'dir = "{run.directory}/journal"',
        "[store]",
        f'url = "{url}"',
    ]
    if run.stores.s3:
        lines += [
            "[store.s3]",
            f'endpoint_url = "{run.stores.s3.url}"',
            f'region = "{REGION}"',
            f'access_key_id = "{ACCESS_KEY}"',
            f'secret_access_key = "{SECRET_KEY}"',
        ]
    if encrypted:
        lines += ["[encryption]", f'recipients = ["{RECIPIENT}"]']
    path = run.directory / "backup-agent.toml"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "backup_agent", *arguments, "--json", "--config", str(config)]


def result(measured: Measured) -> dict[str, Any]:
    """What the command printed. Raises BrokenError when it failed."""
    if measured.status != 0:
        raise BrokenError(f"backup-agent ended with {measured.status}:\n{measured.stderr[-4000:]}")
    printed: dict[str, Any] = json.loads(measured.stdout)
    return printed


def lock_windows(measured: Measured) -> tuple[float | None, float | None]:
    """Of InnoDB's and of MyISAM's writers, in milliseconds, as the agent tells at the end of a backup."""
    completed = (line["lock"] for line in _log(measured) if line.get("event") == "backup.completed")
    lock: dict[str, float] = next(completed, {})
    return lock.get("innodb_ms"), lock.get("nontransactional_ms")


def agent_bytes(measured: Measured) -> int | None:
    """The peak memory (VmHWM) of the agent's own process, as it logs it; None when it did not."""
    return next((int(line["agent_bytes"]) for line in _log(measured) if "agent_bytes" in line), None)


def _log(measured: Measured) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in measured.stderr.splitlines() if line.startswith("{"))


@dataclass(frozen=True, slots=True)
class Agent:
    """`backup-agent run-once`. An incremental with a `parent`: the configuration that has it, and its id."""

    parent: tuple[Path, str] | None = None
    key: str = OURS
    title: str = "**`backup-agent run-once`**"
    encrypted: bool = False
    store: StoreKind = "s3"

    def missing(self) -> str | None:
        return None

    def prepare(self, run: Run) -> None:
        if self.parent is None:
            configure(run, encrypted=self.encrypted)

    def command(self, run: Run) -> list[str]:
        if self.parent is None:
            return command(run.directory / "backup-agent.toml", "run-once")
        config, backup_id = self.parent
        return command(config, "run-once", "--parent", backup_id)

    def environment(self, _: Run) -> Mapping[str, str]:
        return {}

    def check(self, _: Run, measured: Measured) -> None:
        if not result(measured)["backup"]["id"]:
            raise BrokenError("backup-agent names no backup")

    def stored(self, run: Run, measured: Measured) -> int:
        place = _place(measured)
        if run.stores.s3 is None:
            return sum(path.stat().st_size for path in Path(urlsplit(place).path).iterdir())
        return sum(run.s3.sizes(urlsplit(place).path.lstrip("/")).values())

    def remove(self, run: Run, measured: Measured) -> None:
        place = _place(measured)
        if run.stores.s3 is None:
            shutil.rmtree(urlsplit(place).path)
        else:
            run.s3.remove(urlsplit(place).path.lstrip("/"))


ENCRYPTED = Agent(key=OURS_ENCRYPTED, title="**`backup-agent run-once`**, encrypted", encrypted=True)


def _place(measured: Measured) -> str:
    """The URL of the directory or prefix that holds a backup's objects."""
    location = str(result(measured)["backup"]["locationRef"])
    return location.removesuffix("manifest.json")


def take_full(run: Run) -> tuple[Path, dict[str, Any]]:
    """A full backup that nobody measures: its configuration, and all that `show` tells of it."""
    config = configure(run)
    taken = result(measure(command(config, "run-once"), run.directory))["backup"]
    shown: dict[str, Any] = result(measure(command(config, "show", taken["id"]), run.directory))["backup"]
    return config, shown

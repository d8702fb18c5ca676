"""The agent as its users run it: the console script in a process of its own, with a configuration file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB

ACCOUNT = "1234"
SECONDS = 240.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of stderr, all of which are JSON when no terminal is there."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The last line of the log, which must be the error the command ended with."""
        last = self.log[-1]
        if last["level"] != "error":
            raise AssertionError(f"the command did not end with an error:\n{self.stderr}")
        return last

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == kind]


class Agent:
    """One configuration below `base`, with a store in `base/store` unless another URL is given."""

    def __init__(
        self,
        base: Path,
        server: PrivateMariaDB,
        *,
        instance_id: str | None = None,
        store_url: str | None = None,
        extra: Mapping[str, Mapping[str, object]] | None = None,
        user: str = AGENT_USER,
        password: str = AGENT_PASSWORD,
    ) -> None:
        """`extra` is merged into the configuration, by section: `{"stream": {"chunk_mib": 1}}`."""
        self.base = base
        self.instance_id = instance_id or str(uuid.uuid4())
        self.store = base / "store"
        self.runtime_dir = base / "run"
        self.spool_dir = base / "spool"
        self.journal_dir = base / "journal"
        self.config_file = base / "agent.toml"
        self.environment: dict[str, str] = {}
        sections: dict[str, dict[str, object]] = {
            "instance": {
                "id": self.instance_id,
                "account_id": ACCOUNT,
                "socket": str(server.socket),
                "user": user,
                "password": password,
                "runtime_dir": str(self.runtime_dir),
            },
            "store": {"url": store_url or self.store.as_uri(), "retry_for_s": 5},
            "spool": {"dir": str(self.spool_dir), "max_mib": 512, "min_free_mib": 0},
            "journal": {"dir": str(self.journal_dir)},
        }
        for section, values in (extra or {}).items():
            sections.setdefault(section, {}).update(values)
        base.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(_toml(sections))
        self.config_file.chmod(0o600)

    def argv(self, *arguments: str | Path) -> list[str]:
        command, *rest = map(str, arguments)
        words = [command, rest.pop(0)] if command == "config" else [command]
        return [sys.executable, "-m", "backup_agent", *words, "--config", str(self.config_file), *rest]

    def run(self, *arguments: str | Path, stdin: bytes | None = None) -> Outcome:
        """Runs a command to its end; its stderr is no terminal."""
        done = subprocess.run(
            self.argv(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, **self.environment},
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Starts a command; the caller waits for it or kills it."""
        return subprocess.Popen(
            self.argv(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )

    def backup(self, *arguments: str) -> dict[str, Any]:
        """Takes a backup that must complete; its resource."""
        outcome = self.run("run-once", "--json", *arguments)
        if outcome.status != 0:
            raise AssertionError(f"run-once ended with {outcome.status}:\n{outcome.stderr}")
        backup: dict[str, Any] = outcome.json["backup"]
        return backup

    def restore(self, backup_id: str, target: Path, *arguments: str) -> dict[str, Any]:
        """A restore that must succeed; what it printed."""
        outcome = self.run("restore", backup_id, "--target-dir", target, "--json", *arguments)
        if outcome.status != 0:
            raise AssertionError(f"restore ended with {outcome.status}:\n{outcome.stderr}")
        restored: dict[str, Any] = outcome.json["restored"]
        return restored

    def directory(self, backup_id: str) -> Path:
        """Where a file store keeps a backup's objects."""
        return self.store / "z_CLOUDDB_BACKUPS" / self.instance_id / backup_id

    def stored_files(self) -> list[str]:
        """Every file of a file store, relative to it. A directory that is removed meanwhile has none."""
        files = (Path(directory, name) for directory, _, names in os.walk(self.store) for name in names)
        return sorted(str(path.relative_to(self.store)) for path in files)


def _toml(sections: Mapping[str, Mapping[str, object]]) -> str:
    """TOML of sections whose values are scalars, lists of strings, or one level of tables."""
    lines: list[str] = []
    for section, values in sections.items():
        tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables]
        for key, table in tables.items():
            lines.append(f"[{section}.{key}]")
            lines += [f"{inner} = {json.dumps(value)}" for inner, value in table.items()]
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    return text


def checksums(server: PrivateMariaDB, databases: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    """Rows and CHECKSUM TABLE of every base table of `databases`, by `database.table`."""
    result: dict[str, tuple[int, int | None]] = {}
    for database, table in server.query(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
        " WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN %s ORDER BY 1, 2",
        (tuple(databases),),
    ):
        name = f"`{database}`.`{table}`"
        rows = server.query(f"SELECT COUNT(*) FROM {name}")[0][0]
        checksum = server.query(f"CHECKSUM TABLE {name}")[0][1]
        result[f"{database}.{table}"] = (rows, checksum)
    return result

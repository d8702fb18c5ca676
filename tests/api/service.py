"""The control plane as its operators run it: `backup-agent api run`, in processes of its own; and what asks it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from backup_agent.api.catalogue import migrate
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.registering import Registration, add_instance
from backup_agent.api.tokens import TokenFile
from tests.agent import ACCOUNT, Outcome, _toml
from tests.faults.waiting import PATIENCE, until
from tests.servers.rabbitmq import PASSWORD, USER

Sections = Mapping[str, Mapping[str, object]]
GENEROUS = {"get_per_minute": 100_000, "post_per_minute": 100_000, "delete_per_minute": 100_000}


class Api:
    """One configuration below `base`, with a catalogue in SQLite unless another URL is given."""

    def __init__(
        self,
        base: Path,
        broker_url: str,
        *,
        database_url: str | None = None,
        extra: Sections | None = None,
    ) -> None:
        temporary = base / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        self.base = base
        # The API that is killed leaves its directory of counts there.
        self._environment = {**os.environ, "TMPDIR": str(temporary)}
        self.config_file = base / "api.toml"
        self.database_url = database_url or f"sqlite:///{base / 'catalogue.db'}"
        self.log_file = base / "api.log"
        self.process: subprocess.Popen[bytes] | None = None
        sections: dict[str, dict[str, object]] = {
            "http": {"port": 0, "stop_within_s": 60},
            "database": {"url": self.database_url},
            "broker": {
                "urls": [broker_url],
                "user": USER,
                "password": PASSWORD,
                "reconnect_max_s": 0.5,
                "connect_timeout_s": 20,
            },
            "auth": {"tokens_file": str(base / "tokens.json")},
            "limits": {"backups_per_account": 100_000, **GENEROUS},
        }
        for section, values in (extra or {}).items():
            sections.setdefault(section, {}).update(values)
        self.config_file.write_text(_toml(sections))
        self.config_file.chmod(0o600)

    def command(self, *words: str) -> Outcome:
        """Runs `backup-agent api ...` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "backup_agent", "api", *words, "--config", str(self.config_file)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=240,
            check=False,
            env=self._environment,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def done(self, *words: str) -> Any:
        """What a command that must succeed has printed, as JSON."""
        outcome = self.command(*words, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.json if outcome.stdout else None

    def add_instance(
        self,
        name: str = "db",
        account: str = ACCOUNT,
        instance_id: str | None = None,
        datastore: str = "mariadb",
        version: str | None = "10.11",
    ) -> str:
        """What `api instance add` does, without the second that a process takes to begin."""
        found = instance_id or str(uuid.uuid4())
        with closing(Database(self.database_url)) as database:
            migrate.upgrade(database)
            add_instance(database, Registration(found, account, name, datastore, version), datetime.now(UTC))
        return found

    def add_token(self, account: str = ACCOUNT, *, admin: bool = False) -> str:
        """What `api token add` does."""
        return TokenFile(self.base / "tokens.json").add(account, admin=admin, comment="", created="today")[1]

    def start(self) -> Self:
        """Returns when it answers, and its relay has a connection to the broker."""
        try:
            self.launch()
            until(lambda: self.healthy() or self.ended, "a healthy API")
            assert not self.ended, self.text
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self, *, prefix: Sequence[str] = ()) -> Self:
        """Returns when it answers. `prefix` starts the program another way: its arguments follow."""
        already = len(self.lines("the API is ready"))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *(prefix or ("-m", "backup_agent")),
                    *("api", "run", "--config", str(self.config_file)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self._environment,
            )
        until(lambda: self.ended or len(self.lines("the API is ready")) > already, "the API")
        assert not self.ended, self.text
        return self

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    @property
    def text(self) -> str:
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.lines('the API is ready')[-1]['port']}"

    def healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthcheck", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> list[int]:
        """Those that it has started."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill(self) -> None:
        """SIGKILL; the kernel ends the others, and this waits for that."""
        if self.process is None:
            return
        others = [] if self.ended else self.processes()
        self.process.kill()
        self.process.wait()
        until(lambda: not any(lives(pid) for pid in others), "the end of the API's processes")

    def stop(self) -> int:
        """SIGTERM, and waits; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class User:
    """Asks the API with one token."""

    def __init__(self, api: Api, token: str, account: str = ACCOUNT) -> None:
        self.account = account
        self.token = token
        self.http = httpx.Client(base_url=f"{api.url}/v1.0/{account}", headers={"X-Auth-Token": token}, timeout=60)

    def create(self, instance_id: str, name: str = "snapshot", **fields: Any) -> httpx.Response:
        return self.http.post("/backups", json={"backup": {"name": name, "instance": instance_id, **fields}})

    def created(self, instance_id: str, name: str = "snapshot", **fields: Any) -> dict[str, Any]:
        """The backup of a request that must succeed."""
        answer = self.create(instance_id, name, **fields)
        assert answer.status_code == 202, answer.text
        backup: dict[str, Any] = answer.json()["backup"]
        return backup

    def backup(self, backup_id: str) -> dict[str, Any] | None:
        answer = self.http.get(f"/backups/{backup_id}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        backup: dict[str, Any] = answer.json()["backup"]
        return backup

    def status(self, backup_id: str) -> str | None:
        found = self.backup(backup_id)
        return None if found is None else str(found["status"])

    def await_status(self, backup_id: str, status: str | None) -> dict[str, Any] | None:
        """None: gone."""
        until(lambda: self.status(backup_id) == status, f"the backup {status}")
        return self.backup(backup_id)


def get(url: str, headers: Any = None) -> httpx.Response:
    """Of a client of its own, who waits as long as a busy host may take."""
    return httpx.get(url, headers=headers, timeout=60)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

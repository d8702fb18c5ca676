"""The agent under harsher conditions than a test of success needs, and a look at one that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.agent import SECONDS, Agent, Outcome
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB

Sections = Mapping[str, Mapping[str, object]]
SMALL_CHUNKS: Sections = {"stream": {"chunk_mib": 1, "memory_mib": 16}}

STALLS_ARE_WANTED = {"on_blocker": "wait", "standstill_s": 60}
"""Many tests hold a backup where they want it by a statement that it would otherwise not even start beside. And what
stands still on a busy host goes on.
"""


class ConfinedAgent(Agent):
    """With a temporary directory of its own, and started by way of `prefix`, such as `setpriv` with its arguments."""

    def __init__(
        self,
        base: Path,
        server: PrivateMariaDB,
        *,
        instance_id: str | None = None,
        store_url: str | None = None,
        extra: Sections = SMALL_CHUNKS,
        user: str = AGENT_USER,
        password: str = AGENT_PASSWORD,
    ) -> None:
        super().__init__(
            base,
            server,
            instance_id=instance_id,
            store_url=store_url,
            extra={"locks": STALLS_ARE_WANTED, **extra},
            user=user,
            password=password,
        )
        self.prefix: Sequence[str] = ()
        self.temporary = base / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.environment["TMPDIR"] = str(self.temporary)

    def argv(self, *arguments: str | Path) -> list[str]:
        return [*self.prefix, *super().argv(*arguments)]

    def with_config(self, old: str, new: str) -> None:
        """Replaces a part of the configuration file, which must be there."""
        text = self.config_file.read_text()
        assert old in text
        self.config_file.write_text(text.replace(old, new))


def without_powers() -> list[str]:
    """Starts what follows as a user whom file modes bind; of all users only root needs this."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-chown,-fowner"] if os.geteuid() == 0 else []


class Running:
    """A command that runs, and what it has said so far. Killed when the context is left."""

    def __init__(self, agent: Agent, *arguments: str | Path) -> None:
        self._process = agent.start(*arguments)
        self._lines: list[bytes] = []
        self._reader = threading.Thread(target=self._read, name="stderr")
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self._lines)]

    def said(self, event: str, **fields: object) -> bool:
        return any(
            line["event"] == event and all(line.get(name) == value for name, value in fields.items())
            for line in self.log
        )

    def await_word(self, event: str, **fields: object) -> None:
        """Returns when the log has such a line, or the command has ended."""
        until(lambda: self.ended or self.said(event, **fields), f"{event} {fields}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> Outcome:
        """Waits for the end. The status is what a shell would see: 128 and the number after a signal."""
        try:
            status = self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join()
        assert self._process.stdout is not None
        output = self._process.stdout.read().decode()
        return Outcome(128 - status if status < 0 else status, output, b"".join(self._lines).decode())

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

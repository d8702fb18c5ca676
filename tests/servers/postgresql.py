"""A private, throw-away PostgreSQL: its own directory and Unix socket, no TCP port. Knows nothing of pytest.

It refuses to run as root, and is then run as the user `postgres` that its package makes. The kernel kills it when the
thread that started it ends (PDEATHSIG).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

START_SECONDS = 240.0
STOP_SECONDS = 30.0
_USER = "postgres"


class PrivatePostgreSQL:
    """Serves while its context is open."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are lines of postgresql.conf by key and win over ours."""
        # Short, for a socket's path, and not below pytest's directories, which only their owner may enter.
        self.base = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "60", **(settings or {})}

    @property
    def url(self) -> str:
        """As SQLAlchemy has it."""
        return f"postgresql+psycopg://{_USER}@/postgres?host={self.base}"

    def start(self) -> Self:
        """Returns when it answers. Raises RuntimeError with its log when it does not."""
        data = self.base / "data"
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(self.base, user.pw_uid, user.pw_gid)
        if not data.exists():
            options = ("--auth=trust", f"--username={_USER}", "--encoding=UTF8", "--locale=C", "--no-sync")
            subprocess.run([*self._as_user(), self._bin / "initdb", *options, data], check=True, capture_output=True)
        with (self.base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_user(),
                    self._bin / "postgres",
                    *("-D", data, "-k", self.base, "-c", "listen_addresses="),
                    *(word for key, value in self._settings.items() for word in ("-c", f"{key}={value}")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.base,
            )
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """At once, without waiting for clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)

    def _as_user(self) -> list[str]:
        start = ["setpriv", "--pdeathsig", "KILL"]
        return [*start, f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"] if os.geteuid() == 0 else start

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            if subprocess.run([self._bin / "pg_isready", "-q", "-h", self.base], check=False).returncode == 0:
                return
            time.sleep(0.05)
        said = (self.base / "log").read_text("utf-8", "replace")
        raise RuntimeError(f"PostgreSQL in {self.base} did not start:\n{said[-4000:]}")

"""A private, throw-away MariaDB: its own directory, Unix socket and loopback port. Knows nothing of pytest.

The kernel kills the server when the thread that started it ends (PDEATHSIG), so that a killed test run leaves nothing
behind; hence start it from a thread that outlives its use.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pymysql
from pymysql.connections import Connection

from backup_agent.instance.grants import create_user_statements

Options = Mapping[str, str | int] | Sequence[str]

AGENT_USER = "backup_agent"
AGENT_PASSWORD = "throw-away agent's \\ password"
START_SECONDS = 240.0
STOP_SECONDS = 60.0
ACCESS_DENIED = 1045
SOCKET_PATH_LIMIT = 107


class PrivateMariaDB:
    """Everything is below `base`; only a socket whose path would be too long lives in a short temporary directory.

    With `datadir`, the server runs on that directory (a restored one, say) and nothing is installed. `extra_options`
    are `[mysqld]` options by name (`{"log_bin": "other"}`) or whole lines (`["skip-log-bin"]`); they win over ours.
    As a context manager: installs when the data directory is absent or empty, starts, and stops at the end.
    """

    def __init__(
        self, base: Path, *, server_id: int = 1, extra_options: Options = (), datadir: Path | None = None
    ) -> None:
        self.base = base
        self.datadir = datadir or base / "data"
        self.port = free_port()
        self.error_log = base / "error.log"
        self.defaults_file = base / "my.cnf"
        self._server_id = server_id
        self._extra = _lines(extra_options)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_dir: Path | None = None
        base.mkdir(parents=True, exist_ok=True)
        self.socket = self._short_socket()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def install(self) -> None:
        """Makes a fresh system: a lineage of its own, root without a password, no test database. Takes about 0.5 s."""
        self._write_defaults()
        self.datadir.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                "mariadb-install-db",
                f"--defaults-file={self.defaults_file}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}\n{self._log_tail()}")

    def start(self) -> Self:
        """Returns when the server answers. Raises RuntimeError with the end of its error log when it does not."""
        if self.running:
            raise RuntimeError("the server runs already")
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._launch()
            if not self._answers() and self._port_was_taken():
                self.port = free_port()
                self._launch()
            answers = self._answers()
        except BaseException:
            self.kill()
            raise
        if not answers:
            self.kill()
            raise RuntimeError(f"mariadbd on {self.datadir} did not start:\n{self._log_tail()}")
        return self

    def stop(self) -> None:
        """A clean shutdown; after a minute, a kill. Does nothing when the server does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._remove_socket_dir()

    def kill(self) -> None:
        """SIGKILL: a crash. The data directory can be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._remove_socket_dir()

    def destroy_data(self) -> None:
        """Removes the data directory, after a kill if the server runs."""
        self.kill()
        shutil.rmtree(self.datadir)

    def copy_data(self, target: Path) -> Path:
        """A copy of a stopped server's data directory. It shares the UUID of aria_log_control with the original."""
        if self.running:
            raise RuntimeError("a running server's files can't be copied")
        return Path(shutil.copytree(self.datadir, target, symlinks=True))

    def connect(self, user: str = "root", password: str = "", database: str | None = None) -> Connection[Any]:
        """A new connection by the socket, with autocommit. The caller closes it."""
        return pymysql.connect(
            unix_socket=str(self.socket),
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=60,
            read_timeout=120,
        )

    def query(self, sql: str, args: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """All rows, as root."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def execute(self, *statements: str) -> None:
        """Each statement in turn on one connection, as root."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def __enter__(self) -> Self:
        if not self.datadir.is_dir() or not any(self.datadir.iterdir()):
            self.install()
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        self._write_defaults()
        self.error_log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "mariadbd", f"--defaults-file={self.defaults_file}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.base,
        )

    def _answers(self) -> bool:
        """Waits until a connection is accepted or refused for its password; False when it ended or hangs."""
        deadline = time.monotonic() + START_SECONDS
        while self.running and time.monotonic() < deadline:
            if self._listens():
                try:
                    self.connect().close()
                except pymysql.err.OperationalError as error:
                    return bool(error.args[0] == ACCESS_DENIED)
                return True
            time.sleep(0.02)
        return False

    def _listens(self) -> bool:
        """Asked of the socket itself, because a refused PyMySQL connection leaves its socket to the collector."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def _port_was_taken(self) -> bool:
        return not self.running and "Address already in use" in self._log_tail()

    def _write_defaults(self) -> None:
        options = {
            "datadir": self.datadir,
            "socket": self.socket,
            "port": self.port,
            "bind-address": "127.0.0.1",
            "pid-file": self.base / "mariadbd.pid",
            "log-error": self.error_log,
            "tmpdir": self.base,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "server-id": self._server_id,
            "log-bin": "binlog",
            "character-set-server": "utf8mb4",
            "max-connections": 50,
            "innodb-buffer-pool-size": "32M",
            "innodb-log-file-size": "32M",
            # No fsync: what a killed server has written survives in the page cache, and a start takes half the time.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-flush-method": "nosync",
            "debug-no-sync": 1,
            "aria-pagecache-buffer-size": "8M",
            "key-buffer-size": "8M",
            "performance-schema": "OFF",
        }
        lines = ["[mysqld]", "skip-name-resolve", *(f"{name}={value}" for name, value in options.items()), *self._extra]
        self.defaults_file.write_text("\n".join(lines) + "\n")

    def _short_socket(self) -> Path:
        path = self.base / "mariadb.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            return path
        self._socket_dir = Path(tempfile.mkdtemp(prefix="mariadb-", dir="/tmp"))
        return self._socket_dir / "mariadb.sock"

    def _remove_socket_dir(self) -> None:
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _log_tail(self, lines: int = 40) -> str:
        if not self.error_log.exists():
            return "(it wrote no error log)"
        return "\n".join(self.error_log.read_text("utf-8", "replace").splitlines()[-lines:])


def create_agent_user(
    server: PrivateMariaDB, name: str = AGENT_USER, password: str = AGENT_PASSWORD, *, replica: bool = False
) -> None:
    """The documented least-privilege user, for the socket and for TCP (names are not resolved here)."""
    for host in ("localhost", "127.0.0.1"):
        server.execute(*create_user_statements(name, password, host, replica=replica))


def _lines(options: Options) -> list[str]:
    if isinstance(options, Mapping):
        return [f"{name}={value}" for name, value in options.items()]
    return list(options)


def free_port() -> int:
    """One that nobody listens on at this moment, on loopback, and that the kernel gives to no connection by itself.

    Nobody else is given it as long as this process lives: some are used late, some again and again, and where some
    nobody must listen.
    """
    while True:
        with _ports_lock:
            port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _ports_of_this_process() -> Iterator[int]:
    """Each once. Whose a block of them is, says a socket's name, which one process has until it ends."""
    while True:
        block = secrets.randbelow(_PORT_BLOCKS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0ports of backup-agent's tests, block {block}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # open as long as the process is
        first = 10_000 + block * _PORTS_A_BLOCK
        yield from range(first, first + _PORTS_A_BLOCK)


_PORTS_A_BLOCK, _PORT_BLOCKS = 50, 440
_ports = _ports_of_this_process()
_ports_lock = threading.Lock()

"""Servers in processes of their own, which do not say when they are ready."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mariadb import free_port

__all__ = ["SERVERS", "free_port", "listens", "program", "running"]

SERVERS = Path(__file__).parents[2] / ".venv-servers" / "bin"
"""What setup/servers.sh has installed."""
START_SECONDS = 240.0
_LOG_SHOWN = 4000


def program(name: str) -> str:
    """The path of a server that Debian does not have."""
    path = SERVERS / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: run setup/servers.sh .venv-servers, as `make test` does")
    return str(path)


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it is `ready`; killed with its context, and when this process is. It must take its children
    along. Raises RuntimeError with the end of its log when it does not start.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text('utf-8', 'replace')[-_LOG_SHOWN:]}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

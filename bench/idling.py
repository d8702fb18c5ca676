"""The idle phase: what an agent costs that waits for commands, as a daemon beside a private RabbitMQ."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.contenders import OURS, BrokenError
from bench.ours import command, configure
from bench.phases import Bench
from bench.results import Row
from bench.server import settle
from tests.servers.rabbitmq import BIN, PASSWORD, USER, PrivateRabbitMQ

_READY_SECONDS = 60.0
_SETTLING_SECONDS = 5.0
"""After it is ready: what its start costs is not what it costs to wait."""


def idle(bench: Bench) -> None:
    if not bench.wants(OURS):
        return
    if not BIN.is_dir():
        bench.omit("idle", OURS, "rabbitmq-server is not installed", broken=False)
        return
    settle(bench.server)
    with bench.run(bench.fast) as run:
        config = configure(run)
        with PrivateRabbitMQ(run.directory / "broker") as broker:
            config.write_text(
                f'{config.read_text()}[broker]\nurls = ["{broker.url}"]\nuser = "{USER}"\npassword = "{PASSWORD}"\n'
            )
            with _daemon(config, run.directory / "agent.log") as process:
                _wait_until_ready(broker, process, run.directory / "agent.log")
                time.sleep(_SETTLING_SECONDS)
                bench.keep(_watch(psutil.Process(process.pid), bench.daemon_s))


def _watch(process: psutil.Process, seconds: float) -> Row:
    before, begin = _cpu_seconds(process), time.monotonic()
    time.sleep(seconds)
    cpu, seconds = _cpu_seconds(process) - before, time.monotonic() - begin
    memory = process.memory_info().rss
    return Row("idle", OURS, "**`backup-agent run`**", seconds, cpu, 0, memory, 0, agent_bytes=memory)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def _daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [word for word in command(config, "run") if word != "--json"], stdout=out, stderr=out, env=dict(os.environ)
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_READY_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(broker: PrivateRabbitMQ, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises BrokenError unless it consumes from its queue in time."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if any(
            line.split()[-1] != "0" for line in broker.ctl("list_queues", "-q", "name", "consumers").splitlines()[1:]
        ):
            return
        time.sleep(0.5)
    raise BrokenError(f"the agent was not ready:\n{log.read_text('utf-8', 'replace')[-4000:]}")

"""A private, throw-away RabbitMQ: its own directory, loopback ports and port mapper (epmd). Knows nothing of pytest.

Called without Debian's wrappers, which change the user and the directory. The kernel kills it, and its epmd, when the
thread that started them ends (PDEATHSIG), so that a killed test run leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import COMMANDS, DEAD_LETTER, EVENTS, EVENTS_QUEUE
from tests.servers.authority import Authority
from tests.servers.mariadb import free_port
from tests.servers.processes import listens

BIN = Path("/usr/lib/rabbitmq/bin")
USER = "agent"
PASSWORD = "throw-away"
START_SECONDS = 240.0
STOP_SECONDS = 60.0
RELAXED = "[{ra, [{wal_write_strategy, sync_after_notify}]}]"
"""Quorum queues do not wait for fsync: what a killed broker has written survives in the page cache."""
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


class PrivateRabbitMQ:
    """Serves while its context is open; USER may do everything on the virtual host `/`.

    `settings` are lines of rabbitmq.conf by key and win over ours; `advanced` is what advanced.config holds, Erlang
    terms. With an `authority`, there is a TLS port too, where a client certificate logs in by its common name.
    """

    def __init__(
        self,
        base: Path,
        *,
        settings: Mapping[str, str | int] | None = None,
        advanced: str = RELAXED,
        authority: Authority | None = None,
    ) -> None:
        self.base = base
        self.port, self.tls_port = free_port(), free_port()
        self._node = f"private{secrets.token_hex(4)}@localhost"
        self._distribution_port, self._ctl_port, self._epmd_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        for name in ("home", "data", "log", "conf.d"):
            (base / name).mkdir(parents=True, exist_ok=True)
        cookie = base / "home" / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16).upper())
        cookie.chmod(0o400)
        self._write_configuration(settings or {}, advanced, authority)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """On the same ports and data as before. Raises RuntimeError with what it printed when it does not answer."""
        if self.running:
            raise RuntimeError("the broker runs already")
        try:
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.kill()
            self._stop_epmd()
            raise
        return self

    def stop(self) -> None:
        """A clean shutdown; after a minute, a kill."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def settle(self) -> None:
        """Writes down which quorum queues there are. RabbitMQ 3.10 does so some seconds late, and one that was made
        just before a kill stays without a leader ever after.
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def kill(self) -> None:
        """SIGKILL: a crash. Its data can be started again (see `settle`)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def ctl(self, *arguments: str) -> str:
        """What rabbitmqctl says. Takes about a second."""
        done = subprocess.run(
            [BIN / "rabbitmqctl", "--quiet", "-n", self._node, *arguments],
            env=self._environment(),
            cwd=self.base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def connect(self) -> pika.BlockingConnection:
        """A connection of the test's own. The caller closes it."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1",
                self.port,
                credentials=pika.PlainCredentials(USER, PASSWORD),
                heartbeat=0,
                socket_timeout=60,
                stack_timeout=60,
            )
        )

    def depth(self, channel: BlockingChannel, queue: str) -> int:
        """Messages that wait in it. Wait for some, and conclude nothing from none: of a quorum queue that does not
        answer within a quarter of a second, RabbitMQ 3.10 says that it has neither messages nor consumers.
        """
        count = channel.queue_declare(queue, passive=True).method.message_count
        return count or 0

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """Its disk is full, as far as it knows: it blocks whoever publishes."""
        self.ctl("set_disk_free_limit", "999999GB")
        try:
            yield
        finally:
            self.ctl("set_disk_free_limit", "1MB")

    def forget_topology(self) -> None:
        """Removes the exchanges and queues that all instances share, with what is in them."""
        with self.connect() as connection:
            channel = connection.channel()
            for queue in (DEAD_LETTER, EVENTS_QUEUE):
                channel.queue_delete(queue)
            for exchange in (COMMANDS, EVENTS, DEAD_LETTER):
                channel.exchange_delete(exchange)

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"amqps://127.0.0.1:{self.tls_port}"

    def settings(self, **changes: Any) -> BrokerSettings:
        """For an agent of this broker, who comes back soon."""
        defaults: dict[str, Any] = {
            "urls": (self.url,),
            "user": USER,
            "password": PASSWORD,
            "reconnect_max": 0.5,
            "connect_timeout": 20,
        }
        return BrokerSettings(**{**defaults, **changes})

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._stop_epmd()

    def _launch(self) -> None:
        environment = self._environment()
        if self._epmd is None:
            # Or the broker would start one that stays behind.
            self._epmd = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=environment,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._wait_for_epmd(self._epmd)
        with (self.base / "log" / "startup").open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BIN / "rabbitmq-server"],
                env=environment,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _wait_for_epmd(self, epmd: subprocess.Popen[bytes]) -> None:
        """Or a broker that is faster than it would start one of its own after all."""
        deadline = time.monotonic() + START_SECONDS
        while not listens(self._epmd_port):
            if epmd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"epmd did not start on port {self._epmd_port}: status {epmd.poll()}")
            time.sleep(0.02)

    def _wait_until_ready(self) -> None:
        """The listeners are opened last: who answers on one is ready."""
        deadline = time.monotonic() + START_SECONDS
        while self.running and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                    probe.settimeout(2)
                    probe.sendall(_AMQP_HEADER)
                    if probe.recv(1):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        said = (self.base / "log" / "startup").read_text("utf-8", "replace")
        raise RuntimeError(f"RabbitMQ in {self.base} did not start:\n{said[-4000:]}")

    def _stop_epmd(self) -> None:
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        self._epmd = None

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.base / "home"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(self._ctl_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(self._ctl_port),
            "RABBITMQ_MNESIA_BASE": str(self.base / "data"),
            "RABBITMQ_LOG_BASE": str(self.base / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.base / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.base / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.base / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.base / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_PID_FILE": str(self.base / "pid"),
            # The script is then replaced by the Erlang machine, so that the death signal is its own.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": os.devnull,
        }

    def _write_configuration(
        self, settings: Mapping[str, str | int], advanced: str, authority: Authority | None
    ) -> None:
        lines: dict[str, str | int] = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "num_acceptors.tcp": 2,
            "default_user": USER,
            "default_pass": PASSWORD,
            "log.console": "false",
            "disk_free_limit.absolute": "1MB",
            "vm_memory_high_watermark.absolute": "1GB",
        }
        if authority is not None:
            certificate, key = authority.server()
            lines |= {
                "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
                "num_acceptors.ssl": 2,
                "ssl_options.cacertfile": str(authority.ca),
                "ssl_options.certfile": str(certificate),
                "ssl_options.keyfile": str(key),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "false",
                "auth_mechanisms.1": "PLAIN",
                "auth_mechanisms.2": "EXTERNAL",
                "ssl_cert_login_from": "common_name",
            }
        text = "".join(f"{key} = {value}\n" for key, value in {**lines, **settings}.items())
        (self.base / "rabbitmq.conf").write_text(text)
        (self.base / "advanced.config").write_text(f"{advanced}.\n")
        (self.base / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n" if authority else "[].\n")

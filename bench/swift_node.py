"""A private Swift node: proxy, account, container and object server, one replica in one directory.

A script for the interpreter that has `swift`: `swift_node.py DIR PORTS`, a port for each server as JSON, by name. Makes
the file `ready` in DIR when all of them listen, and ends them when it is told to (SIGTERM) or killed. Tokens live in
the proxy's memory: no memcached.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 60.0
_SERVERS = ("account", "container", "object")

_COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
"""
_STORAGE = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 30
"""
_PROXY = """
[pipeline:main]
pipeline = catch_errors healthcheck cache listing_formats tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
paste.filter_factory = token_cache:filter_factory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_HASH = """[swift-hash]
swift_hash_path_prefix = bench
swift_hash_path_suffix = bench
[storage-policy:0]
name = default
default = yes
"""
_CACHE = '''"""What the proxy asks of memcached, in its own memory: for one proxy process."""


class Memory:
    def __init__(self):
        self._values = {}

    def set(self, key, value, *args, **kwargs):
        self._values[key] = value

    def get(self, key, *args, **kwargs):
        return self._values.get(key)

    def incr(self, key, delta=1, *args, **kwargs):
        self._values[key] = max(0, int(self._values.get(key, 0)) + int(delta))
        return self._values[key]

    def decr(self, key, delta=1, *args, **kwargs):
        return self.incr(key, -delta)

    def delete(self, key, *args, **kwargs):
        self._values.pop(key, None)

    def set_multi(self, mapping, *args, **kwargs):
        self._values.update(mapping)

    def get_multi(self, keys, *args, **kwargs):
        return [self._values.get(key) for key in keys]


def filter_factory(global_conf, **conf):
    memory = Memory()

    def wrap(app):
        def call(environ, start_response):
            environ["swift.cache"] = memory
            return app(environ, start_response)

        return call

    return wrap
'''


def configure(base: Path, ports: dict[str, int]) -> Path:
    """Writes every file of the node, the rings excepted; where they are."""
    etc, devices = base / "etc", base / "srv"
    for directory in (etc, devices / "d1"):
        directory.mkdir(parents=True, exist_ok=True)
    (etc / "swift.conf").write_text(_HASH)
    (etc / "token_cache.py").write_text(_CACHE)
    user = pwd.getpwuid(os.geteuid()).pw_name
    for name, port in ports.items():
        common = _COMMON.format(port=port, user=user, etc=etc, devices=devices)
        text = _PROXY if name == "proxy" else _STORAGE.format(name=name)
        (etc / f"{name}-server.conf").write_text(common + text)
    return etc


def build_rings(etc: Path, ports: dict[str, int]) -> None:
    from swift.common.ring import RingBuilder  # type: ignore[import-not-found]  # noqa: PLC0415 - after its directory is set

    for name in _SERVERS:
        builder = RingBuilder(4, 1, 0)
        device = {
            "id": 0,
            "region": 1,
            "zone": 1,
            "weight": 1.0,
            "ip": "127.0.0.1",
            "port": ports[name],
            "device": "d1",
        }
        builder.add_dev({**device, "meta": "", "replication_ip": "127.0.0.1", "replication_port": ports[name]})
        builder.rebalance()
        builder.get_ring().save(f"{etc}/{name}.ring.gz")


def start(etc: Path, name: str) -> int:
    """Forks one server, which dies with this process; its pid."""
    from swift.common.wsgi import run_wsgi  # type: ignore[import-not-found]  # noqa: PLC0415 - after its directory is set

    if pid := os.fork():
        return pid
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    extra = {}
    if name == "object":
        from swift.obj.server import global_conf_callback  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

        extra["global_conf_callback"] = global_conf_callback
    os._exit(run_wsgi(f"{etc}/{name}-server.conf", f"{name}-server", **extra) or 0)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(base: Path, ports: dict[str, int]) -> int:
    etc = configure(base, ports)
    sys.path.insert(0, str(etc))
    from swift.common import utils  # type: ignore[import-not-found]  # noqa: PLC0415 - in this interpreter alone

    utils.set_swift_dir(str(etc))
    build_rings(etc, ports)
    pids = [start(etc, name) for name in (*_SERVERS, "proxy")]

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for pid in pids:
            os.killpg(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    deadline = time.monotonic() + _START_SECONDS
    while not all(map(listens, ports.values())):
        if time.monotonic() > deadline or os.waitpid(-1, os.WNOHANG)[0]:
            stop(signal.SIGTERM, None)
        time.sleep(0.05)
    (base / "ready").touch()
    pid, status = os.wait()
    sys.stderr.write(f"server {pid} of {pids} ended with {status}\n")
    stop(signal.SIGTERM, None)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), json.loads(sys.argv[2])))

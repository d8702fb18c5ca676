"""A private Swift node: proxy, account, container and object server, one replica in one directory.

A script for the interpreter that has `swift`: `swift_node.py DIR PORTS SETTINGS`, as JSON: a port for each server, by
name, and what PrivateSwift is asked for. Makes the file `ready` in DIR when all of them serve, and ends them when it is
told to (SIGTERM) or killed. Tokens live in the proxy's memory, no memcached: it forgets them when there is a file
`forget` in DIR, which it removes then.
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
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.request import Request, urlopen

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 240.0
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
container_update_timeout = 60
conn_timeout = 60
node_timeout = 60
"""
"""A list that one server can't tell another of in time would be told later, by a daemon that does not run here."""
_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats {auth} copy container-quotas account-quotas slo \
dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 60
node_timeout = 60
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
paste.filter_factory = token_cache:filter_factory
forget = {base}/forget
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_TEMPAUTH = """[filter:tempauth]
use = egg:swift#tempauth
token_life = {token_life}
user_test_tester = testing .admin
user_test_reader = reading
user_service_agent = serving .reseller_admin
"""
_KEYSTONE = """[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone[url]}
auth_url = {keystone[url]}
auth_type = password
username = {keystone[user]}
password = {keystone[password]}
project_name = {keystone[project]}
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
cache = swift.cache
include_service_catalog = false
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
reseller_admin_role = ResellerAdmin
"""
_HASH = """[swift-hash]
swift_hash_path_prefix = test
swift_hash_path_suffix = test
[storage-policy:0]
name = default
default = yes
[swift-constraints]
container_listing_limit = 2000
"""
_CACHE = '''"""What the proxy asks of memcached, in its own memory: for one proxy process."""

import os
import time


class Memory:
    def __init__(self):
        self._values = {}

    def set(self, key, value, serialize=True, time=0, *args, **kwargs):
        self._values[key] = (value, _now() + time if time else None)

    def get(self, key, *args, **kwargs):
        value, until = self._values.get(key, (None, None))
        return None if until is not None and until < _now() else value

    def incr(self, key, delta=1, time=0, *args, **kwargs):
        value = max(0, int(self.get(key) or 0) + int(delta))
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0, *args, **kwargs):
        return self.incr(key, -delta, time)

    def delete(self, key, *args, **kwargs):
        self._values.pop(key, None)

    def set_multi(self, mapping, server_key, serialize=True, time=0, *args, **kwargs):
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys, *args, **kwargs):
        return [self.get(key) for key in keys]

    def clear(self):
        self._values.clear()


def _now():
    return time.time()


def filter_factory(global_conf, **conf):
    memory = Memory()

    def wrap(app):
        def call(environ, start_response):
            if os.path.exists(conf["forget"]):
                memory.clear()
                os.unlink(conf["forget"])
            environ["swift.cache"] = memory
            return app(environ, start_response)

        return call

    return wrap
'''


def configure(base: Path, ports: dict[str, int], settings: dict[str, object]) -> Path:
    """Writes every file of the node, the rings excepted; where they are."""
    etc, devices = base / "etc", base / "srv"
    for directory in (etc, devices / "d1"):
        directory.mkdir(parents=True, exist_ok=True)
    (etc / "swift.conf").write_text(_HASH)
    (etc / "token_cache.py").write_text(_CACHE)
    user = pwd.getpwuid(os.geteuid()).pw_name
    keystone = settings["keystone"]
    login = (_KEYSTONE if keystone else _TEMPAUTH).format(keystone=keystone, token_life=settings["token_life"])
    proxy = _PROXY.format(base=base, auth="authtoken keystoneauth" if keystone else "s3api tempauth") + login
    for name, port in ports.items():
        common = _COMMON.format(port=port, user=user, etc=etc, devices=devices)
        text = proxy if name == "proxy" else _STORAGE.format(name=name)
        (etc / f"{name}-server.conf").write_text(common + text)
    return etc


def build_rings(etc: Path, ports: dict[str, int]) -> None:
    from swift.common.ring import RingBuilder  # type: ignore[import-not-found]  # noqa: PLC0415 - after its directory is set

    for name in _SERVERS:
        builder = RingBuilder(4, 1, 0)
        place = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "d1", "meta": ""}
        address = {"ip": "127.0.0.1", "port": ports[name], "replication_ip": "127.0.0.1"}
        builder.add_dev({**place, **address, "replication_port": ports[name]})
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
    extra: dict[str, object] = {"verbose": True}  # logs to standard error, there is no syslog
    if name == "object":
        from swift.obj.server import global_conf_callback  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

        extra["global_conf_callback"] = global_conf_callback
    os._exit(run_wsgi(f"{etc}/{name}-server.conf", f"{name}-server", **extra) or 0)


def fill(base: Path, port: int, path: str, prefix: str, count: int) -> None:
    """Lists `count` objects in the container `path` that are not there: putting them would take a minute."""
    from swift.common.utils import Timestamp  # type: ignore[import-not-found]  # noqa: PLC0415 - as above
    from swift.container.backend import ContainerBroker  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

    url = f"http://127.0.0.1:{port}"
    login = Request(f"{url}/auth/v1.0", headers={"X-Auth-User": "service:agent", "X-Auth-Key": "serving"})
    with urlopen(login) as answer:
        token = answer.headers["X-Auth-Token"]
    before = set((base / "srv").rglob("containers/**/*.db"))
    with urlopen(Request(f"{url}/v1/{path}", method="PUT", headers={"X-Auth-Token": token})):
        (database,) = set((base / "srv").rglob("containers/**/*.db")) - before
    row = {
        "created_at": Timestamp.now().internal,
        "size": 1,
        "content_type": "application/octet-stream",
        "etag": "9dd4e461268c8034f5c8564e155c67a6",
        "deleted": 0,
        "storage_policy_index": 0,
        "ctype_timestamp": None,
        "meta_timestamp": None,
    }
    rows = [{"name": f"{prefix}chunk-{number:08d}", **row} for number in range(count)]
    ContainerBroker(str(database)).merge_items(rows)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(base: Path, ports: dict[str, int], settings: dict[str, object]) -> int:
    etc = configure(base, ports, settings)
    sys.path.insert(0, str(etc))
    from swift.common import utils  # type: ignore[import-not-found]  # noqa: PLC0415 - in this interpreter alone

    utils.set_swift_dir(str(etc))
    build_rings(etc, ports)
    pids = [start(etc, name) for name in (*_SERVERS, "proxy")]

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    deadline = time.monotonic() + _START_SECONDS
    while not all(map(listens, ports.values())):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid or time.monotonic() > deadline:
            silent = [name for name, port in ports.items() if not listens(port)]
            ended = f"server {pid} of {pids} ended with {status}; " if pid else ""
            sys.stderr.write(f"{ended}{silent} did not listen\n")
            stop(signal.SIGTERM, None)
        time.sleep(0.05)
    crowd = int(str(settings["crowd"]))
    if crowd:
        fill(base, ports["proxy"], "AUTH_crowded/crowd", "", crowd)
        fill(base, ports["proxy"], "AUTH_test/crowded", "crowd/", crowd)
    (base / "ready").touch()
    pid, status = os.wait()
    sys.stderr.write(f"server {pid} of {pids} ended with {status}\n")
    stop(signal.SIGTERM, None)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), json.loads(sys.argv[2]), json.loads(sys.argv[3])))

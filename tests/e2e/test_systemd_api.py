"""The control plane as a service of a real systemd, installed and set up as docs/api.md says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.waiting import until
from tests.servers.agent_host import INSTANCE, REPOSITORY
from tests.servers.mariadb import free_port
from tests.servers.nspawn import Host, agent_program, why_not
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ

pytestmark = [pytest.mark.server, pytest.mark.skipif(why_not() is not None, reason=f"no host boots here: {why_not()}")]

API = "backup-api.service"
PROGRAM = "/opt/backup-agent/bin/backup-agent"
CONFIG = "/etc/backup-agent/backup-api.toml"
ACCOUNT = "1234"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, shared_rabbitmq: PrivateRabbitMQ, port: int) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("host")
    installed = base / "installed"
    subprocess.run(
        ["make", "-s", "install-api", f"DESTDIR={installed}", "UNITDIR=/etc/systemd/system"], cwd=REPOSITORY, check=True
    )
    with Host(base) as host:
        host.add_tree(installed)
        host.write(PROGRAM, agent_program(), mode=0o755)
        host.write("/etc/hosts", "127.0.0.1 localhost\n")
        host.run("systemd-sysusers")
        configure(host, port, shared_rabbitmq.url)
        host.systemctl("daemon-reload")
        yield host


def configure(host: Host, port: int, broker_url: str) -> None:
    """The file that was installed, with its keys uncommented as an operator does it."""
    values = {"port": port, "urls": [broker_url], "user": USER, "password": PASSWORD}
    section, wanted = "", {("http", "port"), ("broker", "urls"), ("broker", "user"), ("broker", "password")}
    lines = []
    for line in host.run("cat", CONFIG).stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key = line.removeprefix("#").split(" ")[0]
        known = line.startswith("#") and (section, key) in wanted
        lines.append(f"{key} = {json.dumps(values[key])}" if known else line)
    host.write(CONFIG, "\n".join(lines) + "\n", mode=0o640)
    host.run("chgrp", "backup-api", CONFIG)


@pytest.fixture(scope="module")
def token(host: Host) -> str:
    """Made by root before the service was ever started, as the documentation has it."""
    api = (PROGRAM, "api")
    host.run(*api, "instance", "add", "--account", ACCOUNT, "--id", INSTANCE, "--name", "shop", "--config", CONFIG)
    made = host.run(*api, "token", "add", "--account", ACCOUNT, "--json", "--config", CONFIG)
    host.systemctl("start", API)
    return str(json.loads(made.stdout)["token"]["token"])


@pytest.fixture
def user(port: int, token: str) -> Iterator[httpx.Client]:
    """Once the service is in good health."""
    healthy(port)
    headers = {"X-Auth-Token": token}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1.0/{ACCOUNT}", headers=headers, timeout=60) as client:
        yield client


def healthy(port: int) -> None:
    def is_healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    until(is_healthy, "a healthy API")


def test_it_serves_and_writes_under_all_restrictions(host: Host, user: httpx.Client) -> None:
    assert host.show(API, "ActiveState") == "active"
    asked = user.post("/backups", json={"backup": {"name": "snapshot", "instance": INSTANCE}})
    assert asked.status_code == 202, asked.text
    assert [backup["status"] for backup in user.get("/backups").json()["backups"]] == ["NEW"]
    pid = host.show(API, "MainPID")
    assert host.run("ps", "-o", "user:20=", "-p", pid).stdout.strip() == "backup-api"
    assert "CapEff:\t0000000000000000\n" in host.run("cat", f"/proc/{pid}/status").stdout


def test_a_kill_of_any_of_its_processes_is_survived(host: Host, user: httpx.Client, port: int) -> None:
    before = user.get("/backups").json()
    host.systemctl("kill", "--kill-whom=all", "--signal=KILL", API)
    until(lambda: host.show(API, "NRestarts") == "1", "the restart")
    healthy(port)
    assert user.get("/backups").json() == before


def test_a_stop_ends_it_in_order(host: Host, user: httpx.Client) -> None:
    del user
    host.systemctl("stop", API)
    assert (host.show(API, "Result"), host.show(API, "ExecMainStatus")) == ("success", "0")
    host.systemctl("start", API)


def test_a_configuration_that_is_invalid_is_not_tried_again(host: Host, user: httpx.Client) -> None:
    del user
    host.systemctl("stop", API)
    good = host.run("cat", CONFIG).stdout
    host.write(CONFIG, good + "[nowhere]\n", mode=0o640)
    host.run("chgrp", "backup-api", CONFIG)
    before = host.show(API, "NRestarts")
    assert host.systemctl("start", API, check=False).returncode != 0
    assert (host.show(API, "ActiveState"), host.show(API, "ExecMainStatus")) == ("failed", "3")
    assert host.show(API, "NRestarts") == before
    until(lambda: "nowhere" in host.journal(API), "the API's word of what is wrong")

"""Root restarts and stops the database when the agent asks for it by a file, and does nothing else for that user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.waiting import until
from tests.servers.agent_host import INSTANCE, prepare, sql
from tests.servers.nspawn import Host, why_not

pytestmark = [pytest.mark.server, pytest.mark.skipif(why_not() is not None, reason=f"no host boots here: {why_not()}")]

DATABASE = "mariadb.service"
SERVICE = f"backup-agent-power@{INSTANCE}.service"
PATH = f"backup-agent-power@{INSTANCE}.path"
REQUEST = f"/run/backup-agent/{INSTANCE}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("powered")
    with Host(base) as host:
        prepare(host, base)
        unit = host.run("cat", f"/etc/systemd/system/{DATABASE}").stdout
        host.write(f"/etc/systemd/system/{DATABASE}", f"{unit}\n[Install]\nWantedBy=multi-user.target\n")
        host.systemctl("daemon-reload")
        host.systemctl("enable", "--now", DATABASE)
        host.systemctl("start", PATH)
        yield host


def as_agent(host: Host, script: str) -> None:
    host.run("setpriv", "--reuid=backup-agent", "--regid=backup-agent", "--clear-groups", "sh", "-c", script)


def asks(host: Host, action: str) -> None:
    as_agent(host, f"touch {REQUEST}.{action}")
    until(lambda: not host.exists(f"{REQUEST}.{action}"), f"the end of the {action}")
    until(lambda: host.show(SERVICE, "ActiveState") == "inactive", "the end of the helper")


def test_the_database_is_restarted_stopped_started_and_stopped_for_good(host: Host) -> None:
    before = host.show(DATABASE, "MainPID")
    asks(host, "restart")
    assert host.show(DATABASE, "MainPID") not in {before, "0"}
    assert sql(host, "SELECT 1").strip() == "1"
    asks(host, "stop")
    assert host.show(DATABASE, "ActiveState") == "inactive"
    assert host.systemctl("is-enabled", DATABASE).stdout.strip() == "enabled"
    asks(host, "restart")
    assert host.show(DATABASE, "ActiveState") == "active"
    asks(host, "delete")
    assert host.show(DATABASE, "ActiveState") == "inactive"
    assert host.systemctl("is-enabled", DATABASE, check=False).stdout.strip() == "disabled"
    assert host.show(SERVICE, "Result") == "success"
    host.systemctl("enable", "--now", DATABASE)


def test_a_request_that_can_not_be_met_does_not_come_again_and_again(host: Host) -> None:
    host.sh(f"mkdir -p /run/systemd/system/{SERVICE}.d")
    host.write(f"/run/systemd/system/{SERVICE}.d/90-test.conf", "[Service]\nEnvironment=POWERED_UNIT=nothing.service\n")
    host.systemctl("daemon-reload")
    asks(host, "restart")
    until(lambda: "restart of nothing.service failed" in host.journal(SERVICE), "the helper's word of the failure")
    host.sh("rm -rf /run/systemd/system/backup-agent*.d; systemctl daemon-reload")


def test_the_agents_user_can_not_make_root_remove_a_file_elsewhere(host: Host) -> None:
    host.sh("rm -rf /root/aim; mkdir /root/aim; echo kept > /root/aim/kept")
    before = host.show(DATABASE, "MainPID")
    as_agent(host, f"ln -s /root/aim/kept {REQUEST}.restart")
    assert host.run("cat", "/root/aim/kept").stdout == "kept\n"
    assert host.show(DATABASE, "MainPID") == before, "what that user can't see is no request"
    as_agent(host, f"rm {REQUEST}.restart")

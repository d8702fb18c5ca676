"""While a backup runs, a real systemd refuses to stop the database; and the guard outlives nobody it guards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.waiting import until
from tests.servers.agent_host import INSTANCE, backups, configure, notes_are_written, prepare, sql
from tests.servers.nspawn import Host, why_not

pytestmark = [pytest.mark.server, pytest.mark.skipif(why_not() is not None, reason=f"no host boots here: {why_not()}")]

DATABASE = "mariadb.service"
FULL = "backup-agent-full.service"
GUARD = f"backup-agent-guard@{INSTANCE}.service"
PATH = f"backup-agent-guard@{INSTANCE}.path"
STANDING = f"/run/backup-agent-guard/{INSTANCE}"
REQUEST = f"/run/backup-agent/{INSTANCE}.guard"
LOCK = f"/run/backup-agent/{INSTANCE}.lock"
DROP_IN = "/run/systemd/system/mariadb.service.d"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("guarded")
    with Host(base) as host:
        prepare(host, base)
        yield host


@pytest.fixture
def host(booted: Host) -> Iterator[Host]:
    """The database runs, its guard waits for requests, nobody holds the lock."""
    configure(booted, {"guard": {"enabled": True, "wait_s": 60}})
    booted.systemctl("start", DATABASE, PATH)
    yield booted
    booted.systemctl("stop", PATH, GUARD, FULL)
    booted.sh("rm -rf /run/systemd/system/backup-agent*.d; systemctl daemon-reload; systemctl reset-failed")
    booted.run("rm", "-rf", REQUEST, LOCK)


@pytest.fixture
def backup(host: Host) -> Iterator[None]:
    """One runs, and does not end before the test does."""
    with notes_are_written(host):
        host.systemctl("start", "--no-block", FULL)
        until(lambda: host.exists(STANDING), "the guard")
        until(lambda: "mariadb-backup" in host.run("ps", "-eo", "comm=").stdout, "the engine")
        yield


def refusal(host: Host, verb: str) -> str:
    done = host.systemctl(verb, DATABASE, check=False)
    assert done.returncode != 0
    return done.stderr


def await_the_guards_end(host: Host) -> None:
    until(lambda: not host.exists(DROP_IN), "the end of the drop-in")
    until(lambda: host.show(DATABASE, "RefuseManualStop") == "no", "the reload")
    until(lambda: not host.exists(REQUEST), "the end of the request")
    assert not host.exists(STANDING)


@pytest.mark.usefixtures("backup")
@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_the_database_is_not_stopped_while_a_backup_runs(host: Host, verb: str) -> None:
    assert "Operation refused" in refusal(host, verb)
    assert host.show(DATABASE, "ActiveState") == "active"


@pytest.mark.usefixtures("backup")
def test_who_looks_at_the_refusing_unit_reads_how_to_stop_it_all_the_same(host: Host) -> None:
    shown = host.systemctl("cat", DATABASE).stdout
    assert f"To stop the database all the same: systemctl stop {GUARD}" in shown
    host.systemctl("stop", GUARD)
    host.systemctl("stop", DATABASE)
    assert host.show(GUARD, "ActiveState") == "inactive"


@pytest.mark.usefixtures("backup")
def test_a_shutdown_that_heeds_inhibitors_is_held(host: Host) -> None:
    held = host.systemctl("reboot", "--check-inhibitors=yes", check=False)
    assert held.returncode != 0
    assert "a backup of mariadb.service runs" in held.stderr


@pytest.mark.usefixtures("backup")
def test_after_a_kill_of_the_agent_the_database_can_be_stopped(host: Host) -> None:
    host.systemctl("kill", "--kill-whom=main", "--signal=KILL", FULL)
    await_the_guards_end(host)
    host.systemctl("stop", DATABASE)
    assert host.show(DATABASE, "ActiveState") == "inactive"


def test_the_guard_goes_with_the_backup_and_comes_with_the_next(host: Host) -> None:
    before = len(backups(host))
    for _ in range(2):
        host.systemctl("start", FULL)
        assert "the guard did not come" not in host.journal(FULL)
        await_the_guards_end(host)
    assert len(backups(host)) == before + 2
    assert host.show(GUARD, "Result") == "success"


def test_a_guard_that_has_stood_for_too_long_goes_and_does_not_come_back(host: Host) -> None:
    host.write(f"/run/systemd/system/{GUARD}.d/90-test.conf", "[Service]\nRuntimeMaxSec=2\n")
    host.systemctl("daemon-reload")
    with notes_are_written(host):
        host.systemctl("start", "--no-block", FULL)
        until(lambda: host.show(GUARD, "Result") == "timeout", "the end of the guard's time")
        await_the_guards_end(host)
        assert host.show(FULL, "ActiveState") == "activating"
        assert host.show(DATABASE, "RefuseManualStop") == "no"


def test_without_the_path_unit_the_backup_goes_on_with_a_warning(host: Host) -> None:
    host.systemctl("stop", PATH)
    configure(host, {"guard": {"enabled": True, "wait_s": 0.1}})
    host.systemctl("start", FULL)
    until(lambda: f"is {PATH} enabled?" in host.journal(FULL), "the warning")
    assert not host.exists(REQUEST)


def as_agent(host: Host, script: str) -> None:
    host.run("setpriv", "--reuid=backup-agent", "--regid=backup-agent", "--clear-groups", "sh", "-c", script)


def test_a_request_of_nobody_who_holds_the_lock_is_removed_and_guards_nothing(host: Host) -> None:
    as_agent(host, f"touch {LOCK} {REQUEST}")
    until(lambda: not host.exists(REQUEST), "the end of the request")
    assert host.show(DATABASE, "RefuseManualStop") == "no"


@pytest.mark.parametrize("name", [LOCK, REQUEST])
def test_the_agents_user_can_not_make_root_write_or_remove_a_file_elsewhere(host: Host, name: str) -> None:
    host.sh("rm -rf /root/aim; mkdir /root/aim; echo kept > /root/aim/kept")
    as_agent(host, f"ln -s /root/aim/{'new' if name == LOCK else 'kept'} {name}; [ -L {REQUEST} ] || touch {REQUEST}")
    until(lambda: host.run("test", "-L", REQUEST, check=False).returncode and not host.exists(REQUEST), "its end")
    assert host.run("ls", "/root/aim").stdout == "kept\n"
    assert host.run("cat", "/root/aim/kept").stdout == "kept\n"


def test_a_pipe_in_the_locks_place_leaves_nothing_behind(host: Host) -> None:
    as_agent(host, f"mkfifo {LOCK}; touch {REQUEST}")
    until(lambda: host.exists(STANDING), "the guard")
    host.systemctl("stop", GUARD)
    await_the_guards_end(host)
    assert sql(host, "SELECT 1").strip() == "1"

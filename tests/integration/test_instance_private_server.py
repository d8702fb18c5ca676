"""The private server that other tests stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).parents[2]
START_AND_WAIT = """
import sys
import time
from pathlib import Path
from tests.servers.mariadb import PrivateMariaDB
server = PrivateMariaDB(Path(sys.argv[1]))
server.install()
print(server.start().pid, flush=True)
sys.stdin.read()
"""


def test_a_private_server_answers_and_leaves_no_process(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "server", server_id=7) as server:
        pid = server.pid
        assert server.query("SELECT @@server_id, @@log_bin") == [(7, 1)]
    assert not psutil.pid_exists(pid)


def test_a_server_ends_with_a_killed_test_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_AND_WAIT, str(tmp_path / "server")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        run.kill()
    until(lambda: ended(server), "the server's end")


def ended(process: psutil.Process) -> bool:
    """In a container, nobody may be there to reap an orphan."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_long_base_path_still_gets_a_working_socket(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / ("x" * 120)) as server:
        assert server.query("SELECT 1") == [(1,)]
        place = server.socket.parent
    assert not place.exists()


def test_data_survive_a_kill_and_another_server_object_on_the_same_directory(mariadb: PrivateMariaDB) -> None:
    mariadb.execute("CREATE DATABASE d", "CREATE TABLE d.t (n INT) ENGINE=InnoDB", "INSERT INTO d.t VALUES (41)")
    mariadb.kill()
    mariadb.start()
    assert mariadb.query("SELECT n FROM d.t") == [(41,)]
    mariadb.stop()
    with PrivateMariaDB(mariadb.base.parent / "other", datadir=mariadb.datadir) as other:
        assert other.query("SELECT n FROM d.t") == [(41,)]


def test_a_server_that_can_not_start_shows_its_error_log(tmp_path: Path) -> None:
    server = PrivateMariaDB(tmp_path / "server", extra_options=["no-such-option=1"])
    (server.datadir / "mysql").mkdir(parents=True)
    with pytest.raises(RuntimeError, match=r"unknown variable 'no-such-option=1'"):
        server.start()
    assert not server.running


def test_the_agent_user_can_log_in_by_socket_and_has_just_its_grants(mariadb: PrivateMariaDB) -> None:
    with mariadb.connect(AGENT_USER, AGENT_PASSWORD) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        (grants,) = cursor.fetchall()
    assert grants[0].startswith("GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO `backup_agent`@`localhost`")


def test_two_servers_run_side_by_side(mariadb: PrivateMariaDB, tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "second", server_id=2, extra_options={"log-bin": "other"}) as second:
        create_agent_user(second, replica=True)
        assert second.query("SELECT @@log_bin_basename") == [(str(second.datadir / "other"),)]
        assert second.port != mariadb.port

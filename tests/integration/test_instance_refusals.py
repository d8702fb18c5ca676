"""What a real server or its host refuses, and what the operator is told."""

from __future__ import annotations

import getpass
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pymysql
import pytest
from pymysql.constants import ER

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance import connection
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.grants import BACKUP_GRANTS, account_literal
from backup_agent.instance.mariadb import MariaDBInstance
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

FACTS_OR_ERROR = """
import os, sys
from pathlib import Path
from backup_agent.errors import InstanceError
from backup_agent.instance import connection
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.mariadb import MariaDBInstance
try:
    MariaDBInstance(Endpoint(Path(sys.argv[1]), user=sys.argv[2], password=os.environ["PASSWORD"])).facts()
except InstanceError as error:
    print(error.code, error.message, error.hint, sep="\\n")
"""


def instance_of(
    server: PrivateMariaDB, user: str = AGENT_USER, password: str | None = AGENT_PASSWORD
) -> MariaDBInstance:
    return MariaDBInstance(Endpoint(server.socket, user=user, password=password))


def refusal(instance: MariaDBInstance) -> InstanceError:
    with pytest.raises(InstanceError) as caught:
        instance.facts()
    return caught.value


@pytest.fixture
def user(shared_mariadb: PrivateMariaDB) -> Iterator[str]:
    """The name of a least-privilege user that the test may spoil."""
    name = f"user_{secrets.token_hex(4)}"
    create_agent_user(shared_mariadb, name)
    yield name
    shared_mariadb.execute(f"DROP USER {name}@localhost, {name}@127.0.0.1")


def test_the_documented_user_has_every_grant(shared_mariadb: PrivateMariaDB) -> None:
    assert instance_of(shared_mariadb).missing_grants(replica=False) == ()


@pytest.mark.parametrize("lacking", BACKUP_GRANTS)
def test_each_missing_grant_is_named(shared_mariadb: PrivateMariaDB, user: str, lacking: str) -> None:
    shared_mariadb.execute(f"REVOKE {lacking} ON *.* FROM {user}@localhost")
    assert instance_of(shared_mariadb, user).missing_grants(replica=False) == (lacking,)


def test_the_facts_name_the_grant_they_lack_and_the_statement_that_gives_it(
    shared_mariadb: PrivateMariaDB, user: str
) -> None:
    shared_mariadb.execute(f"REVOKE BINLOG MONITOR ON *.* FROM {user}@localhost")
    error = refusal(instance_of(shared_mariadb, user))
    assert error.code is ErrorCode.GRANT_MISSING
    assert error.message == f"the database user '{user}'@'localhost' lacks the privilege BINLOG MONITOR"
    shared_mariadb.execute(error.hint.removeprefix("Run as an administrator: ").removesuffix(";"))
    assert instance_of(shared_mariadb, user).facts().lineage.binlog_file == "binlog.000001"


def test_a_role_counts_only_when_it_is_the_default(shared_mariadb: PrivateMariaDB, user: str) -> None:
    role = f"{user}_role"
    shared_mariadb.execute(
        f"CREATE ROLE {role}",
        f"GRANT {', '.join(BACKUP_GRANTS)} ON *.* TO {role}",
        f"REVOKE {', '.join(BACKUP_GRANTS)} ON *.* FROM {user}@localhost",
        f"GRANT {role} TO {user}@localhost",
    )
    instance = instance_of(shared_mariadb, user)
    assert instance.missing_grants(replica=False) == BACKUP_GRANTS
    shared_mariadb.execute(f"SET DEFAULT ROLE {role} FOR {user}@localhost")
    assert instance.missing_grants(replica=False) == ()


@pytest.mark.parametrize(
    ("user", "password"), [(AGENT_USER, "hunter2"), (AGENT_USER, None), ("nobody_here", "hunter2")]
)
def test_a_wrong_user_or_password_is_denied_without_showing_it(
    shared_mariadb: PrivateMariaDB, user: str, password: str | None
) -> None:
    error = refusal(instance_of(shared_mariadb, user, password))
    assert error.code is ErrorCode.DATABASE_DENIED
    assert f"refused the user {user}: Access denied" in error.message
    assert "instance.password" in error.hint
    assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.hint}"


@pytest.mark.parametrize("spoilt", ["ACCOUNT LOCK", "PASSWORD EXPIRE"])
def test_a_locked_account_or_an_expired_password_is_denied(
    shared_mariadb: PrivateMariaDB, user: str, spoilt: str
) -> None:
    shared_mariadb.execute(f"ALTER USER {user}@localhost {spoilt}")
    assert refusal(instance_of(shared_mariadb, user)).code is ErrorCode.DATABASE_DENIED


def test_an_authentication_we_can_not_do_is_denied(mariadb: PrivateMariaDB) -> None:
    mariadb.execute(
        "INSTALL SONAME 'auth_ed25519'",
        "CREATE USER modern@localhost IDENTIFIED VIA ed25519 USING PASSWORD('p')",
    )
    error = refusal(instance_of(mariadb, "modern", "p"))
    assert error.code is ErrorCode.DATABASE_DENIED
    assert "ed25519" in error.message


def test_no_password_is_needed_with_unix_socket_authentication(mariadb: PrivateMariaDB) -> None:
    account = account_literal(getpass.getuser(), "localhost")
    mariadb.execute(
        f"CREATE USER IF NOT EXISTS {account}",
        f"GRANT {', '.join(BACKUP_GRANTS)} ON *.* TO {account}",
        f"ALTER USER {account} IDENTIFIED VIA unix_socket",
    )
    assert instance_of(mariadb, getpass.getuser(), None).facts().datastore == "mariadb"


def test_a_stopped_server_is_unreachable_by_socket_and_by_port(mariadb: PrivateMariaDB) -> None:
    mariadb.stop()
    by_socket = refusal(instance_of(mariadb))
    by_port = refusal(MariaDBInstance(Endpoint(None, "127.0.0.1", mariadb.port)))
    assert by_socket.code is by_port.code is ErrorCode.DATABASE_UNREACHABLE
    assert by_socket.message == (
        f"the server at the socket {mariadb.socket} can't be reached: No such file or directory"
    )
    assert "instance.socket" in by_socket.hint
    assert by_port.message == f"the server at 127.0.0.1:{mariadb.port} can't be reached: Connection refused"
    assert "instance.host and instance.port" in by_port.hint


def test_a_server_that_does_not_answer_is_unreachable_in_bounded_time(
    shared_mariadb: PrivateMariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    os.kill(shared_mariadb.pid, signal.SIGSTOP)
    try:
        error = refusal(instance_of(shared_mariadb))
    finally:
        os.kill(shared_mariadb.pid, signal.SIGCONT)
    assert error.code is ErrorCode.DATABASE_UNREACHABLE
    assert "timed out" in error.message


def connected(server: PrivateMariaDB, held: ExitStack) -> bool:
    """Whether there was a connection left; it is then held."""
    try:
        held.enter_context(closing(server.connect(AGENT_USER, "p")))
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.CON_COUNT_ERROR:
            raise
        return False
    return True


def test_a_server_without_a_free_connection_is_unreachable(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "server", extra_options={"max-connections": 10}) as server:
        server.execute("CREATE USER backup_agent@localhost IDENTIFIED BY 'p'")
        with ExitStack() as held:
            for _ in range(10):
                until(lambda: connected(server, held), "the end of connections that were closed before")
            error = refusal(instance_of(server, password="p"))
    assert error.code is ErrorCode.DATABASE_UNREACHABLE
    assert "Too many connections" in error.message


def ask_without_root_s_powers(server: PrivateMariaDB) -> list[str]:
    """Code, message and hint of facts() asked by a process whom file modes bind, which root alone they do not."""
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*bound, sys.executable, "-c", FACTS_OR_ERROR, str(server.socket), AGENT_USER],
        env={**os.environ, "PASSWORD": AGENT_PASSWORD},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["ibdata1", "aria_log_control", "mysql", ""])
def test_files_that_may_not_be_read_are_named_with_who_could(shared_mariadb: PrivateMariaDB, name: str) -> None:
    assert ask_without_root_s_powers(shared_mariadb) == []
    path = shared_mariadb.datadir / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        code, message, hint = ask_without_root_s_powers(shared_mariadb)
    finally:
        path.chmod(mode)
    assert code == "datadir_unreadable"
    assert message == f"{path} can't be read: Permission denied"
    assert f"user {getpass.getuser()} and group" in hint


def test_a_data_directory_that_is_not_here_is_not_on_this_host(mariadb: PrivateMariaDB) -> None:
    moved = mariadb.datadir.rename(mariadb.datadir.with_name("moved"))
    try:
        error = refusal(instance_of(mariadb))
    finally:
        moved.rename(mariadb.datadir)
    assert error.code is ErrorCode.DATADIR_UNREADABLE
    assert error.message == (
        f"the data directory {mariadb.datadir} of the server at the socket {mariadb.socket} is not on this host"
    )

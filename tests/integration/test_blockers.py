"""Whom we name as blockers is who makes BACKUP STAGE wait on a real server, with the plugin that tells and without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pymysql
import pytest
from pymysql.constants import ER

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.mariadb import MariaDBInstance
from backup_agent.instance.supers import READABLE
from tests.faults.waiting import until
from tests.integration.blocker_cases import CASES, LONG, tables
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

KILLER = "killer"
STAGES = ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT")


@pytest.fixture(scope="module", params=[True, False], ids=["plugin", "no plugin"])
def plugin(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, *, plugin: bool) -> Iterator[PrivateMariaDB]:
    options = ["plugin-load-add=ha_archive", "log_bin_trust_function_creators=ON"]
    if plugin:
        options.append("plugin-load-add=metadata_lock_info")
    with PrivateMariaDB(tmp_path_factory.mktemp("blockers"), extra_options=options) as running:
        create_agent_user(running)
        create_agent_user(running, KILLER)
        running.execute(
            f"GRANT CONNECTION ADMIN ON *.* TO {KILLER}@localhost",
            f"GRANT {READABLE} TO {KILLER}@localhost",
            "CREATE USER shop@localhost IDENTIFIED BY 'shop'",
            "GRANT ALL ON shop.* TO shop@localhost",
            "GRANT ALL ON old.* TO shop@localhost",
            "CREATE DATABASE shop",
            "USE shop",
        )
        running.execute("USE shop", *tables())
        yield running


def instance_of(server: PrivateMariaDB, user: str = AGENT_USER) -> MariaDBInstance:
    return MariaDBInstance(Endpoint(server.socket, user=user, password=AGENT_PASSWORD))


def blockers(server: PrivateMariaDB, user: str = AGENT_USER) -> tuple[Blocker, ...]:
    return instance_of(server, user).blockers(server.datadir)


class Client:
    """A session whose last statement may last."""

    def __init__(self, server: PrivateMariaDB, user: str, password: str) -> None:
        self._server = server
        self._connection = pymysql.connect(
            user=user,
            password=password,
            database=None if user == AGENT_USER else "shop",
            unix_socket=str(server.socket),
            charset="utf8mb4",
            autocommit=True,
        )
        self.number = int(self._connection.thread_id())  # type: ignore[no-untyped-call]
        self._thread = threading.Thread(target=self._last)
        self._statement = ""
        self.error: int | None = None

    def run(self, *statements: str) -> None:
        """Returns when the last one has ended or waits for something."""
        with self._connection.cursor() as cursor:
            for statement in statements[:-1]:
                cursor.execute(statement)
        self._statement = statements[-1]
        self._thread.start()
        until(lambda: self.ended or self._waits(), self._statement)

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> None:
        with suppress(pymysql.err.MySQLError):  # it may have ended already
            self._server.execute(f"KILL {self.number}")
        if self._thread.ident is not None:
            self._thread.join()
        if self._connection.open:
            self._connection.close()
        until(
            lambda: not self._server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s", [self.number]),
            "the end of a session",
        )

    def query(self, sql: str) -> object:
        """After the last statement has ended."""
        self._thread.join()
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def _last(self) -> None:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(self._statement)
        except pymysql.err.MySQLError as error:
            self.error = error.args[0]

    def _waits(self) -> bool:
        rows = self._server.query("SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = %s", [self.number])
        return bool(rows) and (rows[0][0] == "User sleep" or str(rows[0][0]).startswith("Waiting for"))


@contextmanager
def client(server: PrivateMariaDB, *statements: str, user: str = "shop", password: str = "shop") -> Iterator[Client]:
    made = Client(server, user, password)
    try:
        made.run(*statements)
        yield made
    finally:
        made.end()


@pytest.fixture
def spoilt(server: PrivateMariaDB) -> Iterator[PrivateMariaDB]:
    """The server, mended afterwards."""
    server.execute("CREATE DATABASE old", "CREATE TABLE old.t (n INT) ENGINE=InnoDB")
    yield server
    server.execute("DROP DATABASE IF EXISTS old", "DROP TABLE IF EXISTS shop.made")


def makes_wait(server: PrivateMariaDB) -> bool:
    """Whether BACKUP STAGE would wait now, asked without waiting."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_wait_timeout = 0")
        try:
            for stage in STAGES:
                cursor.execute(f"BACKUP STAGE {stage}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
                raise
            return True
        return False


@pytest.mark.parametrize("name", CASES)
def test_who_makes_the_backup_wait_is_named_and_nobody_else(spoilt: PrivateMariaDB, name: str, *, plugin: bool) -> None:
    case = CASES[name]
    with client(spoilt, *(case.behind or ("DO 0",))), client(spoilt, *case.statements) as one:
        found = blockers(spoilt)
        assert makes_wait(spoilt) == (case.why is not None)
        if case.why is None or (case.plugin_only and not plugin):
            assert found == ()
            return
        (blocker,) = found
        assert case.why in blocker.why
        assert (blocker.id, blocker.user, blocker.host) == (one.number, "shop", "localhost")
        assert 0 <= blocker.age_s < 60
        assert blocker.protected is not None
        assert bool(blocker.statement) == (not one.ended)


@contextmanager
def waiting_backup(server: PrivateMariaDB) -> Iterator[Client]:
    """A backup as the engine makes it, that waits in BLOCK_DDL."""
    with client(
        server, *(f"BACKUP STAGE {stage}" for stage in STAGES[:3]), user=AGENT_USER, password=AGENT_PASSWORD
    ) as one:
        assert not one.ended
        yield one


def test_who_waits_for_the_backup_is_not_named(server: PrivateMariaDB) -> None:
    with (
        client(server, f"UPDATE m SET v = v WHERE n = 1 AND {LONG}") as culprit,
        waiting_backup(server) as backup,
        client(server, "UPDATE m2 SET v = v + 1") as victim,
        client(server, "LOCK TABLES m2 WRITE") as another,
    ):
        assert not victim.ended
        assert not another.ended
        (blocker,) = blockers(server, KILLER)
        assert blocker.id == culprit.number
        assert instance_of(server, KILLER).kill_query(blocker)
        until(lambda: backup.ended, "the backup's locks")
        assert backup.error is None


def test_the_longest_is_named_first(server: PrivateMariaDB) -> None:
    update = f"SET v = v WHERE n = 1 AND {LONG}"
    with client(server, f"UPDATE m {update}") as first, client(server, f"UPDATE m2 {update}") as second:
        assert [blocker.id for blocker in blockers(server)] == [first.number, second.number]


def test_the_statement_is_killed_and_not_its_connection(server: PrivateMariaDB) -> None:
    with client(server, f"UPDATE m  SET v = v\nWHERE n = 1 AND {LONG}") as one:
        (blocker,) = blockers(server, KILLER)
        assert blocker.statement == f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"
        assert blocker.protected is None
        assert instance_of(server, KILLER).kill_query(blocker)
        until(lambda: one.ended, "the end of the statement")
        assert one.query("SELECT CONNECTION_ID()") == ((one.number,),)


def test_a_statement_that_has_ended_is_not_killed_nor_is_the_next(server: PrivateMariaDB) -> None:
    with client(server, f"UPDATE m SET v = v WHERE n = 1 AND {LONG}") as one:
        (blocker,) = blockers(server, KILLER)
        server.execute(f"KILL QUERY {one.number}")
        until(lambda: one.ended, "the end of the statement")
        assert not instance_of(server, KILLER).kill_query(blocker)
        assert one.query("SELECT 1") == ((1,),)
        assert not instance_of(server, KILLER).kill_query(blocker)
    assert not instance_of(server, KILLER).kill_query(blocker)


@pytest.mark.parametrize(
    ("user", "password", "protected"), [("root", "", "has SUPER"), (KILLER, AGENT_PASSWORD, "our own")]
)
def test_the_protected_are_not_killed(server: PrivateMariaDB, user: str, password: str, protected: str) -> None:
    server.execute(f"GRANT ALL ON shop.* TO {KILLER}@localhost")
    with client(server, f"UPDATE m SET v = v WHERE n = 1 AND {LONG}", user=user, password=password) as one:
        (blocker,) = blockers(server, KILLER)
        assert blocker.protected == protected
        with pytest.raises(InstanceError, match=protected) as caught:
            instance_of(server, KILLER).kill_query(blocker)
        assert caught.value.code is ErrorCode.INVALID_REQUEST
        assert not one.ended


def test_nobody_is_killed_whose_privileges_can_not_be_told(server: PrivateMariaDB) -> None:
    with client(server, f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"):
        (blocker,) = blockers(server)
        assert blocker.protected == "its privileges can't be told"
        with pytest.raises(InstanceError, match="privileges") as caught:
            instance_of(server).kill_query(blocker)
        (told,) = blockers(server, KILLER)
        with pytest.raises(InstanceError, match="CONNECTION ADMIN") as lacking:
            instance_of(server).kill_query(told)
    assert f"GRANT {READABLE} TO '{AGENT_USER}'@'localhost'" in caught.value.hint
    assert lacking.value.code is ErrorCode.GRANT_MISSING
    assert lacking.value.hint.endswith(f"GRANT CONNECTION ADMIN ON *.* TO '{AGENT_USER}'@'localhost';")


def test_super_is_told_by_either_table_and_hidden_by_a_role_that_has_it(server: PrivateMariaDB) -> None:
    create_agent_user(server, "other")
    try:
        server.execute("GRANT SELECT ON mysql.global_priv TO other@localhost")
        update = f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"
        with client(server, update), client(server, update.replace("m", "m2", 1), user="root", password=""):
            for user in ("other", KILLER):
                assert [blocker.protected for blocker in blockers(server, user)] == [None, "has SUPER"]
            server.execute("CREATE ROLE boss", "GRANT SUPER ON *.* TO boss")
            for user in ("other", KILLER):
                found = [blocker.protected for blocker in blockers(server, user)]
                assert found == ["its privileges can't be told", "has SUPER"]
    finally:
        server.execute("DROP ROLE IF EXISTS boss", "DROP USER other@localhost, other@127.0.0.1")


def test_a_session_that_has_locked_tables_is_not_killed(server: PrivateMariaDB, *, plugin: bool) -> None:
    if not plugin:
        assert blockers(server, KILLER) == ()
        return
    with client(server, "LOCK TABLES m WRITE"):
        (blocker,) = blockers(server, KILLER)
        assert blocker.protected == "is idle: KILL QUERY would not release its locks"
    with client(server, "LOCK TABLES m WRITE", f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"):
        (blocker,) = blockers(server, KILLER)
        assert blocker.protected == "has locked tables: KILL QUERY would not release them"


def test_a_password_in_a_statement_is_not_shown(server: PrivateMariaDB) -> None:
    with client(server, f"UPDATE m SET v = LENGTH(PASSWORD('geheim')) WHERE n = 1 AND {LONG}"):
        (blocker,) = blockers(server)
        assert "geheim" not in str(blocker)


def test_a_replication_thread_is_named_and_protected(server: PrivateMariaDB, tmp_path: Path, *, plugin: bool) -> None:
    """Row-based, where only the plugin can tell."""
    with PrivateMariaDB(tmp_path / "source", server_id=2) as source:
        source.execute(
            "SET sql_log_bin = 0",
            "CREATE USER replica IDENTIFIED BY 'replica'",
            "GRANT REPLICATION SLAVE ON *.* TO replica",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.m (n INT NOT NULL, v INT NOT NULL) ENGINE=MyISAM",
        )
        try:
            server.execute(
                f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {source.port}, MASTER_USER = 'replica', "
                "MASTER_PASSWORD = 'replica', MASTER_LOG_FILE = 'binlog.000001', MASTER_LOG_POS = 4",
                "START SLAVE",
            )
            with client(server, "LOCK TABLES m READ"):
                event_format = "ROW" if plugin else "STATEMENT"
                source.execute(f"SET binlog_format = {event_format}", "INSERT INTO shop.m VALUES (100, 1)")
                until(lambda: blockers(server), "the blocked applier")
                (blocker,) = blockers(server, KILLER)
                assert blocker.why == "writes shop.m (MyISAM)"
                assert blocker.protected == "a replication thread"
                with pytest.raises(InstanceError, match="a replication thread"):
                    instance_of(server, KILLER).kill_query(blocker)
        finally:
            server.execute("STOP SLAVE", "RESET SLAVE ALL")

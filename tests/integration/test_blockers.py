"""Whom we name as blockers is who makes BACKUP STAGE wait on a real server, with the plugin that tells and without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import pymysql
import pytest
from pymysql.constants import ER

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.mariadb import MariaDBInstance
from backup_agent.instance.supers import READABLE
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

KILLER = "killer"
STAGES = ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT")
ENGINES = {
    "m": "MyISAM",
    "m2": "MyISAM",
    "an": "Aria TRANSACTIONAL=0",
    "ac": "Aria TRANSACTIONAL=1 PAGE_CHECKSUM=0",
    "at": "Aria TRANSACTIONAL=1",
    "c": "CSV",
    "ar": "ARCHIVE",
    "i": "InnoDB",
    "j": "InnoDB",
    "`ö d-d.#1`": "MyISAM",
    "parted": "MyISAM PARTITION BY HASH (n) PARTITIONS 2",
    "con": "MyISAM",
}
LONG = "SLEEP(600) = 0"


@dataclass(frozen=True)
class Case:
    statements: tuple[str, ...]
    """The last one lasts, or leaves the session idle."""
    why: str | None
    """None for whom no backup waits."""
    plugin_only: bool = False
    """Told only with the plugin."""
    behind: tuple[str, ...] = ()
    """What another session has done before and keeps open."""


def long_update(table: str, why: str | None) -> Case:
    return Case((f"UPDATE {table} SET v = v WHERE n = 1 AND {LONG}",), why)


def trigger(statement: str) -> str:
    return f"CREATE TRIGGER shop.made BEFORE INSERT ON shop.j FOR EACH ROW {statement}"


CASES = {
    "update MyISAM": long_update("m", "writes shop.m (MyISAM)"),
    "update Aria": long_update("an", "writes shop.an (Aria)"),
    "update Aria without checksums": long_update("ac", "writes shop.ac (Aria)"),
    "update CSV": long_update("c", "writes shop.c (CSV)"),
    "update MERGE": long_update("mg", "writes shop.mg (MERGE)"),
    "update an odd name": long_update("shop . `ö d-d.#1`", "writes shop.ö d-d.#1 (MyISAM)"),
    "update partitions": long_update("parted", "writes shop.parted (MyISAM)"),
    "update a device's name": long_update("con", "writes shop.con (MyISAM)"),
    "insert ARCHIVE": Case(("INSERT INTO ar SELECT n, SLEEP(600) FROM i WHERE n = 1",), "writes shop.ar (ARCHIVE)"),
    "insert from InnoDB": Case(("INSERT INTO m SELECT SLEEP(600), v FROM i WHERE n = 1",), "writes shop.m (MyISAM)"),
    "join with MyISAM": Case(
        (f"UPDATE i JOIN m USING (n) SET i.v = 1 WHERE n = 1 AND {LONG}",), "writes shop.m (MyISAM)"
    ),
    "delete": Case((f"DELETE a FROM m AS a JOIN i AS b USING (n) WHERE n = 1 AND {LONG}",), "writes shop.m (MyISAM)"),
    "select for update": Case(
        (f"SELECT * FROM m WHERE n = 1 AND {LONG} FOR UPDATE",), "locks by FOR UPDATE shop.m (MyISAM)"
    ),
    "procedure": Case(("CALL write_m()",), "writes shop.m (MyISAM)"),
    "trigger": Case(("UPDATE triggered SET v = 1",), "writes shop.m (MyISAM)"),
    "prepared": Case(
        (f"PREPARE p FROM 'UPDATE m SET v = v WHERE n = 1 AND {LONG}'", "EXECUTE p"), "writes shop.m (MyISAM)"
    ),
    "behind a reader": Case(("UPDATE m SET v = v + 1",), "writes shop.m (MyISAM)", behind=("LOCK TABLES m READ",)),
    "alter MyISAM": Case(
        ("ALTER TABLE m FORCE, ALGORITHM=COPY",), "alters shop.m (MyISAM)", behind=("BEGIN", "SELECT * FROM m")
    ),
    "create as select": Case(("CREATE TABLE made AS SELECT n, SLEEP(600) FROM i",), "creates shop.made"),
    "create a trigger": Case(
        (trigger("SET @x = 1"),), "makes a trigger on shop.j", behind=("BEGIN", "SELECT * FROM j")
    ),
    "drop a database": Case(("DROP DATABASE old",), "drops old", behind=("BEGIN", "SELECT * FROM old.t")),
    "function": Case(("SELECT write_m_too()",), "writes shop.m (MyISAM)", plugin_only=True),
    "view": Case((f"UPDATE view_of_m SET v = v WHERE n = 1 AND {LONG}",), "writes shop.m (MyISAM)", plugin_only=True),
    "lock MyISAM": Case(("LOCK TABLES m WRITE",), "holds LOCK TABLES ... WRITE on shop.m", plugin_only=True),
    "lock InnoDB": Case(("LOCK TABLES i WRITE",), "holds LOCK TABLES ... WRITE on shop.i", plugin_only=True),
    "write a locked table": Case(("LOCK TABLES m WRITE", f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"), "shop.m"),
    "end of a copying ALTER": Case(
        ("ALTER TABLE j FORCE, ALGORITHM=COPY",),
        "alters shop.j",
        plugin_only=True,
        behind=("BEGIN", "SELECT * FROM j"),
    ),
    "update InnoDB": long_update("i", None),
    "update transactional Aria": long_update("at", None),
    "select": Case((f"SELECT * FROM m WHERE n = 1 AND {LONG}",), None),
    "select in share mode": Case((f"SELECT * FROM m WHERE n = 1 AND {LONG} LOCK IN SHARE MODE",), None),
    "insert from MyISAM": Case(("INSERT INTO i SELECT SLEEP(600), v FROM m WHERE n = 1",), None),
    "delete by MyISAM": Case((f"DELETE a FROM i AS a JOIN m AS b USING (n) WHERE n = 1 AND {LONG}",), None),
    "lock for reading": Case(("LOCK TABLES m READ",), None),
    "idle transaction": Case(("BEGIN", "UPDATE i SET v = v + 1", "UPDATE m SET v = v + 1"), None),
    "temporary table": Case(("CREATE TEMPORARY TABLE x ENGINE=MyISAM SELECT SLEEP(600) FROM i WHERE n = 1",), None),
    "alter InnoDB": Case(
        ("ALTER TABLE j ADD INDEX (v), ALGORITHM=INPLACE",), None, behind=("BEGIN", "SELECT * FROM j")
    ),
    "drop that waits": Case(("DROP TABLE m2",), None, behind=("BEGIN", "SELECT * FROM m2")),
    "lock that waits": Case(("LOCK TABLES m WRITE",), None, behind=("BEGIN", "SELECT * FROM m")),
}


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
        running.execute("USE shop", *_tables())
        yield running


def _tables() -> Iterator[str]:
    for table, engine in ENGINES.items():
        yield f"CREATE TABLE {table} (n INT NOT NULL, v INT NOT NULL) ENGINE={engine}"
        yield f"INSERT INTO {table} SELECT seq, 0 FROM seq_1_to_3"
    yield "CREATE TABLE mg (n INT NOT NULL, v INT NOT NULL) ENGINE=MERGE UNION=(m2)"
    yield "CREATE TABLE triggered SELECT * FROM i"
    # The server shows the definer while they run.
    update = f"UPDATE m SET v = v WHERE n = 1 AND {LONG}"
    yield f"CREATE DEFINER=shop@localhost TRIGGER t BEFORE UPDATE ON triggered FOR EACH ROW {update}"
    yield f"CREATE DEFINER=shop@localhost PROCEDURE write_m() {update}"
    yield """
        CREATE DEFINER=shop@localhost FUNCTION write_m_too() RETURNS INT
        BEGIN UPDATE m SET v = v + 1 WHERE n = 1; RETURN SLEEP(600); END
    """
    yield "CREATE VIEW view_of_m AS SELECT * FROM m"


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

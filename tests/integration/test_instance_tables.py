"""What the headers of real tables tell, statement by statement."""

from __future__ import annotations

import pytest

from backup_agent.instance import aria, myisam
from backup_agent.instance.table_files import read_table_files
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

KINDS = {
    "dynamic": "ENGINE=MyISAM",
    "fixed": "ENGINE=MyISAM ROW_FORMAT=FIXED",
    "pages": "ENGINE=Aria TRANSACTIONAL=0",
    "aria_dynamic": "ENGINE=Aria TRANSACTIONAL=0 ROW_FORMAT=DYNAMIC",
    "aria_fixed": "ENGINE=Aria TRANSACTIONAL=0 ROW_FORMAT=FIXED",
}
HEADER = 128


@pytest.mark.parametrize("name", KINDS)
def test_an_index_knows_the_size_of_its_data_after_each_statement(mariadb: PrivateMariaDB, name: str) -> None:
    mariadb.execute("CREATE DATABASE d", f"CREATE TABLE d.t (id INT PRIMARY KEY, what VARCHAR(90)) {KINDS[name]}")
    directory = mariadb.datadir / "d"
    kind, module = (("MY", myisam), ("MA", aria))["Aria" in KINDS[name]]
    for statement in (
        "INSERT INTO d.t SELECT seq, 'x' FROM mysql.seq_1_to_2000",
        "UPDATE d.t SET what = REPEAT('y', 80) WHERE id % 3 = 0",
        "DELETE FROM d.t WHERE id % 2 = 0",
        "OPTIMIZE TABLE d.t",
        "TRUNCATE TABLE d.t",
        "INSERT INTO d.t VALUES (1, 'z')",
        "FLUSH TABLES",
    ):
        mariadb.execute(statement)
        header = (directory / f"t.{kind}I").read_bytes()[:HEADER]
        assert module.stated_size(header) == (directory / f"t.{kind}D").stat().st_size, statement


def test_only_statements_that_rebuild_an_aria_table_change_its_marks(mariadb: PrivateMariaDB) -> None:
    mariadb.execute(
        "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, what VARCHAR(90), KEY (what)) ENGINE=Aria"
    )
    fill = "INSERT INTO d.t SELECT seq, 'x' FROM mysql.seq_1_to_2000"
    mariadb.execute(fill)

    def changes_marks(*statements: str) -> bool:
        before = read_table_files(mariadb.datadir)["d/t.MAI"].rebuilt_at
        mariadb.execute(*statements)
        return read_table_files(mariadb.datadir)["d/t.MAI"].rebuilt_at != before

    for statement in (
        "INSERT INTO d.t VALUES (-1, 'y')",
        "UPDATE d.t SET what = REPEAT('y', 80) WHERE id % 3 = 0",
        "DELETE FROM d.t WHERE id % 2 = 0",
        "FLUSH TABLES",
        "CHECK TABLE d.t EXTENDED",
        "ANALYZE TABLE d.t",
    ):
        assert not changes_marks(statement), statement
    for statement in (
        "OPTIMIZE TABLE d.t",
        "REPAIR TABLE d.t",
        "ALTER TABLE d.t ADD COLUMN more INT",
        "RENAME TABLE d.t TO d.u, d.u TO d.t",
        "TRUNCATE TABLE d.t",
    ):
        assert changes_marks(statement), statement
    assert changes_marks("CREATE OR REPLACE TABLE d.t (id INT PRIMARY KEY, what VARCHAR(90)) ENGINE=Aria")
    assert changes_marks(fill), "rows into an empty table are not logged"


def test_a_transactional_table_states_no_size(mariadb: PrivateMariaDB) -> None:
    mariadb.execute("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=Aria TRANSACTIONAL=1")
    assert aria.stated_size((mariadb.datadir / "d/t.MAI").read_bytes()[:HEADER]) is None


@pytest.mark.parametrize("name", KINDS)
def test_an_index_tells_whether_its_table_was_closed_since_it_was_written(mariadb: PrivateMariaDB, name: str) -> None:
    mariadb.execute("CREATE DATABASE d", f"CREATE TABLE d.t (id INT PRIMARY KEY, what VARCHAR(90)) {KINDS[name]}")
    kind, module = (("MY", myisam), ("MA", aria))["Aria" in KINDS[name]]

    def is_open(*statements: str) -> bool:
        mariadb.execute(*statements)
        return bool(module.is_open((mariadb.datadir / f"d/t.{kind}I").read_bytes()[:HEADER]))

    assert is_open("INSERT INTO d.t VALUES (1, 'x')")
    assert not is_open("FLUSH TABLES")
    assert not is_open("SELECT * FROM d.t")
    assert is_open("UPDATE d.t SET what = 'y'")

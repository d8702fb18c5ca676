"""What is read in the texts of statements: which tables they write, and what of them may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_agent.instance.statement_text import SHOWN_CHARACTERS, shown
from backup_agent.instance.statements import Holds, read_statement


def read(sql: str) -> tuple[str, list[str]] | None:
    effect = read_statement(sql, "shop")
    return None if effect is None else (effect.action, [str(table) for table in effect.tables])


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("INSERT INTO t VALUES (1)", ["shop.t"]),
        ("insert low_priority ignore into other.t (a) select a from u", ["other.t"]),
        ("INSERT t SET a = 1", ["shop.t"]),
        ("REPLACE INTO `odd ``name`.`t.1` VALUES (1)", ["odd `name.t.1"]),
        ('INSERT INTO "t" VALUES (1)', ["shop.t"]),
        ("LOAD DATA LOCAL INFILE 'TABLE x' REPLACE INTO TABLE other . t FIELDS TERMINATED BY ','", ["other.t"]),
        ("LOAD XML INFILE 'f' INTO TABLE t", ["shop.t"]),
        ("UPDATE t SET a = (SELECT MAX(b) FROM u)", ["shop.t"]),
        ("UPDATE LOW_PRIORITY IGNORE t AS x SET a = 1", ["shop.t"]),
        ("UPDATE t PARTITION (p0, p1) x, u USE INDEX (i, j) SET x.a = 1", ["shop.t", "shop.u"]),
        ("UPDATE t JOIN u USING (a, b) LEFT JOIN other.v ON f(t.a, v.a) SET t.a = 1", ["shop.t", "shop.u", "other.v"]),
        ("UPDATE (t a INNER JOIN u b ON a.n = b.n), v SET a.x = 1", ["shop.t", "shop.u", "shop.v"]),
        ("UPDATE t JOIN (SELECT a FROM u WHERE b IN (1, 2)) AS d ON t.a = d.a SET t.b = 1", ["shop.t"]),
        ("UPDATE t STRAIGHT_JOIN u SET t.a = 1", ["shop.t", "shop.u"]),
        ("DELETE FROM t WHERE a IN (SELECT a FROM u)", ["shop.t"]),
        ("DELETE QUICK IGNORE t.*, other.u.* FROM t, other.u, v WHERE 1", ["shop.t", "other.u"]),
        ("DELETE a FROM t a JOIN u b ON a.n = b.n", ["shop.t"]),
        ("DELETE FROM a, v USING t AS a, other.v, u WHERE 1", ["shop.t", "other.v"]),
        ("DELETE HISTORY FROM t BEFORE SYSTEM_TIME NOW()", ["shop.t"]),
        ("DELETE shop.t FROM t JOIN u WHERE 1", ["shop.t"]),
        ("SET STATEMENT max_statement_time = 5, lock_wait_timeout = 1 FOR UPDATE t SET a = 1", ["shop.t"]),
        ("ANALYZE FORMAT=JSON UPDATE t SET a = 1", ["shop.t"]),
        ("WITH c AS (SELECT * FROM u) DELETE FROM t WHERE a IN (SELECT a FROM c)", ["shop.t"]),
        ("/* UPDATE no SET */ -- INSERT INTO no\n# DELETE FROM no\nUPDATE /*x*/ t SET a = ';' ", ["shop.t"]),
        ("/*!50100 UPDATE */ /*M!100000 t */ SET a = 1", ["shop.t"]),
        ("UPDATE tä$1 SET a = 'it''s \\' FROM u'", ["shop.tä$1"]),
    ],
)
def test_the_tables_that_are_written_are_found(sql: str, tables: list[str]) -> None:
    assert read(sql) == ("writes", tables)


@pytest.mark.parametrize(
    ("sql", "action", "tables", "holds"),
    [
        ("ALTER ONLINE TABLE t ADD COLUMN (a INT), DROP b", "alters", ["shop.t"], Holds.ALTERS),
        ("ALTER TABLE IF EXISTS t ENGINE=InnoDB", "alters", ["shop.t"], Holds.ALTERS),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i USING BTREE ON other.t (a)", "alters", ["other.t"], Holds.ALTERS),
        ("DROP INDEX i ON t", "alters", ["shop.t"], Holds.ALTERS),
        ("OPTIMIZE LOCAL TABLE t, other.u", "optimizes", ["shop.t", "other.u"], Holds.WRITES),
        ("REPAIR TABLES t QUICK", "repairs", ["shop.t"], Holds.WRITES),
        ("TRUNCATE t", "empties", ["shop.t"], Holds.DDL),
        ("TRUNCATE TABLE other.t", "empties", ["other.t"], Holds.DDL),
        ("RENAME TABLE t TO u, other.v TO w", "renames", ["shop.t", "shop.u", "other.v", "shop.w"], Holds.DDL),
        ("CREATE OR REPLACE TABLE t SELECT 1", "creates", ["shop.t"], Holds.DDL),
        ("CREATE TABLE IF NOT EXISTS other.t (a INT)", "creates", ["other.t"], Holds.DDL),
        ("DROP TABLE IF EXISTS t, other.u CASCADE", "drops", ["shop.t", "other.u"], Holds.DDL),
        ("DROP DATABASE IF EXISTS other", "drops", ["other"], Holds.WAITING_DDL),
        (
            "CREATE DEFINER=`a`@`%` TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
            "makes a trigger on",
            ["shop.t"],
            Holds.WAITING_DDL,
        ),
        ("(SELECT * FROM t JOIN u FOR UPDATE)", "locks by FOR UPDATE", ["shop.t", "shop.u"], Holds.WRITES),
        ("SELECT a FROM t WHERE b = 1 FOR UPDATE NOWAIT", "locks by FOR UPDATE", ["shop.t"], Holds.WRITES),
    ],
)
def test_what_else_is_done_to_tables_is_told(sql: str, action: str, tables: list[str], holds: Holds) -> None:
    effect = read_statement(sql, "shop")
    assert effect is not None
    assert (effect.action, [str(table) for table in effect.tables], effect.holds) == (action, tables, holds)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "   ",
        ";",
        "SELECT * FROM t",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT 'FOR UPDATE' FROM t -- FOR UPDATE",
        "WITH c AS (SELECT 1) SELECT * FROM c",
        "ANALYZE TABLE t",
        "CHECK TABLE t",
        "CALL p()",
        "DO SLEEP(1)",
        "SET @a = 1",
        "LOCK TABLES t READ",
        "CREATE TEMPORARY TABLE t SELECT 1",
        "DROP TEMPORARY TABLE t",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE PROCEDURE p() BEGIN UPDATE t SET a = 1; END",
        "CREATE DATABASE d",
        "ALTER USER u IDENTIFIED BY 'x'",
        "EXPLAIN UPDATE t SET a = 1",
        "BACKUP STAGE BLOCK_DDL",
        "'UPDATE t SET a = 1'",
        "`UPDATE` t SET a = 1",
    ],
)
def test_what_makes_no_backup_wait_is_nothing(sql: str) -> None:
    assert read(sql) is None


def test_a_table_without_a_database_is_one_of_no_database() -> None:
    effect = read_statement("UPDATE t SET a = 1", "")
    assert effect is not None
    assert effect.tables == (("", "t"),)


WORDS = st.sampled_from(
    r"""UPDATE DELETE INSERT REPLACE LOAD SELECT WITH SET STATEMENT FOR ANALYZE FORMAT = FROM USING JOIN ON AS TABLE
    INTO CREATE DROP ALTER RENAME TO IF EXISTS INDEX TRIGGER OR DATABASE ( ) , . .* * ; t u `a b` ` ' " 'x' \ /* */ /*!
    # -- @ 1""".split()  # noqa: SIM905 - the list would take a page
)
SIGNS = st.lists(WORDS).flatmap(lambda words: st.sampled_from(" \n").map(lambda space: space.join(words)))


@settings(deadline=None)
@given(st.one_of(st.text(), SIGNS), st.text(max_size=5))
def test_no_text_is_too_odd_to_be_read_and_shown(sql: str, database: str) -> None:
    read_statement(sql, database)
    assert len(shown(sql)) <= SHOWN_CHARACTERS


@settings(deadline=None)
@given(SIGNS, st.integers(0, 400))
def test_a_statement_may_be_cut_off_anywhere(sql: str, length: int) -> None:
    read_statement(f"UPDATE t JOIN (SELECT 'a', \"b\", `c` FROM u /* d */) x ON (1) SET {sql}"[:length], "shop")


IDENTIFIERS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=64)


@settings(deadline=None)
@given(IDENTIFIERS, IDENTIFIERS)
def test_any_name_in_backticks_is_read_as_it_is(database: str, table: str) -> None:
    quoted = ".".join(f"`{name.replace('`', '``')}`" for name in (database, table))
    effect = read_statement(f"UPDATE {quoted} SET a = 1", "shop")
    assert effect is not None
    assert effect.tables == ((database, table),)


def test_a_statement_is_shown_in_one_line_without_comments() -> None:
    assert shown("UPDATE t -- why\n  SET a = 1,\tb='two\n words' /* by app */ ") == "UPDATE t SET a = 1, b='two words'"


def test_a_long_statement_is_cut() -> None:
    line = shown(f"INSERT INTO t VALUES ({', '.join(map(str, range(1000)))})")
    assert line.startswith("INSERT INTO t VALUES (0, 1, 2")
    assert len(line) == SHOWN_CHARACTERS
    assert line.endswith("...")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER USER u IDENTIFIED BY 'geheim'",
        "CREATE USER u IDENTIFIED VIA ed25519 USING PASSWORD('geheim') OR unix_socket",
        "SET PASSWORD FOR u = PASSWORD(_utf8'geheim')",
        "SET PASSWORD = 'geheim",
        "CHANGE MASTER TO MASTER_HOST='h', MASTER_PASSWORD='geheim'",
        "INSERT INTO users (name, `password`) VALUES ('bob', 'ge\\'geheim')",
        "UPDATE t SET a = AES_ENCRYPT('x', \"geheim\")",
        "UPDATE t SET user_secret = 0xgeheim",
        "/*!50100 ALTER USER u IDENTIFIED BY 'geheim' */",
        "UPDATE t SET a = 1 -- password 'geheim'",
        "UPDATE t SET a = 1 /* password 'geheim'",
    ],
)
def test_passwords_are_blanked(sql: str) -> None:
    assert "geheim" not in shown(sql)


def test_what_is_blanked_leaves_the_rest_to_be_read() -> None:
    assert shown("ALTER USER u@h  IDENTIFIED BY 'x'") == "ALTER USER u@h IDENTIFIED BY '...'"


def test_other_values_are_shown() -> None:
    assert shown("UPDATE t SET description = 'x'") == "UPDATE t SET description = 'x'"

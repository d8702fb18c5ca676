"""Who is in the way, judged from what a server shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.instance.blockers import (
    Blocker,
    Connection,
    Lock,
    Suspect,
    judge,
    suspects_by_locks,
    suspects_by_statements,
)
from backup_agent.instance.statements import TableName
from backup_agent.instance.supers import Account, has_super
from backup_agent.instance.table_engines import nontransactional
from tests.unit.instance.test_datadir import aria_header

SESSIONS = TableName("shop", "sessions")
NOTES = TableName("shop", "notes")
ORDERS = TableName("shop", "orders")
ENGINES = {SESSIONS: "MyISAM", NOTES: "Aria"}
UPDATE = "UPDATE sessions SET seen = 1"


def connection(
    statement: str = UPDATE,
    *,
    number: int = 12,
    user: str = "shop",
    command: str = "Query",
    state: str = "Updating",
    age_s: float = 34.2,
    own: bool = False,
) -> Connection:
    return Connection(number, 900 + number, user, "10.0.0.5:4711", "shop", command, age_s, state, statement, own)


def by_statements(*connections: Connection, fold: bool = False) -> tuple[Blocker, ...]:
    return judge(suspects_by_statements(connections, fold=fold), ENGINES, {"shop": False})


def by_locks(one: Connection, *locks: tuple[str, str, TableName]) -> tuple[Blocker, ...]:
    held = [Lock(one.id, mode, kind, table) for mode, kind, table in locks]
    return judge(suspects_by_locks([one], held), ENGINES, {"shop": False})


def backup_lock(mode: str) -> tuple[str, str, TableName]:
    return (mode, "Backup lock", TableName("", ""))


def table_lock(mode: str, table: TableName) -> tuple[str, str, TableName]:
    return (mode, "Table metadata lock", table)


def whys(blockers: tuple[Blocker, ...]) -> list[str]:
    return [blocker.why for blocker in blockers]


def test_a_blocker_tells_who_since_when_and_what() -> None:
    (blocker,) = by_statements(connection())
    assert blocker == Blocker(
        id=12,
        query_id=912,
        user="shop",
        host="10.0.0.5:4711",
        age_s=34.2,
        statement=UPDATE,
        why="writes shop.sessions (MyISAM)",
        protected=None,
    )
    assert str(blocker) == (
        "connection 12 of shop@10.0.0.5:4711, 34.2 s: UPDATE sessions SET seen = 1 (writes shop.sessions (MyISAM))"
    )


def test_an_idle_blocker_says_so() -> None:
    (blocker,) = by_locks(
        connection("", command="Sleep", state="", age_s=3),
        backup_lock("MDL_BACKUP_DDL"),
        table_lock("MDL_SHARED_NO_READ_WRITE", SESSIONS),
    )
    assert str(blocker) == (
        "connection 12 of shop@10.0.0.5:4711, 3.0 s: idle (holds LOCK TABLES ... WRITE on shop.sessions)"
    )
    assert blocker.protected == "is idle: KILL QUERY would not release its locks"


def test_who_runs_something_without_a_text_is_not_called_idle() -> None:
    applier = connection("", user="system user", command="Slave_SQL", state="Waiting for table level lock")
    (blocker,) = by_locks(applier, backup_lock("MDL_BACKUP_DML"), table_lock("MDL_SHARED_WRITE", SESSIONS))
    assert blocker.statement == "[Slave_SQL: Waiting for table level lock]"
    assert blocker.why == "writes shop.sessions (MyISAM)"


def test_the_longest_comes_first() -> None:
    found = by_statements(*(connection(number=number, age_s=number) for number in (3, 9, 5)))
    assert [blocker.id for blocker in found] == [9, 5, 3]


@pytest.mark.parametrize(
    ("statement", "state", "why"),
    [
        ("UPDATE sessions JOIN orders SET seen = 1", "Updating", "writes shop.sessions (MyISAM)"),
        (UPDATE, "Waiting for table level lock", "writes shop.sessions (MyISAM)"),
        ("UPDATE orders SET n = 1", "Updating", None),
        ("INSERT INTO orders SELECT * FROM sessions", "Sending data", None),
        (UPDATE, "Waiting for backup lock", None),
        (UPDATE, "Waiting for table flush", None),
        (UPDATE, "Waiting for table metadata lock", None),
        ("ALTER TABLE notes FORCE", "copy to tmp table", "alters shop.notes (Aria)"),
        ("ALTER TABLE notes FORCE", "Waiting for table metadata lock", "alters shop.notes (Aria)"),
        ("ALTER TABLE orders FORCE", "copy to tmp table", None),
        ("CREATE TABLE new SELECT * FROM orders", "Sending data", "creates shop.new"),
        ("DROP TABLE orders, sessions", "", "drops shop.sessions (MyISAM)"),
        ("DROP TABLE orders", "Waiting for table metadata lock", None),
        ("DROP DATABASE old", "Waiting for table metadata lock", "drops old"),
        ("LOAD INDEX INTO CACHE sessions", "", None),
    ],
)
def test_what_a_statement_holds_depends_on_its_tables_and_its_state(
    statement: str, state: str, why: str | None
) -> None:
    assert whys(by_statements(connection(statement, state=state))) == ([why] if why else [])


def test_names_are_folded_where_the_server_folds_them() -> None:
    shouted = connection("UPDATE Shop.SESSIONS SET seen = 1")
    assert whys(by_statements(shouted, fold=True)) == ["writes shop.sessions (MyISAM)"]
    assert by_statements(shouted) == ()


def test_of_many_tables_the_first_are_named() -> None:
    tables = [TableName("shop", f"t{number}") for number in range(5)]
    suspects = [Suspect(connection(), "writes", tuple(tables))]
    (blocker,) = judge(suspects, dict.fromkeys(tables, "CSV"), {})
    assert blocker.why == "writes shop.t0 (CSV), shop.t1 (CSV), shop.t2 (CSV) and 2 more"


@pytest.mark.parametrize(
    ("statement", "locks", "why"),
    [
        (
            "SELECT f()",
            [backup_lock("MDL_BACKUP_DML"), table_lock("MDL_SHARED_WRITE", SESSIONS)],
            "writes shop.sessions (MyISAM)",
        ),
        (
            "UPDATE a_view SET n = 1",
            [
                backup_lock("MDL_BACKUP_DML"),
                table_lock("MDL_SHARED_WRITE", TableName("shop", "a_view")),
                table_lock("MDL_SHARED_WRITE", NOTES),
            ],
            "writes shop.notes (Aria)",
        ),
        (
            "INSERT INTO sessions SELECT * FROM notes",
            [
                backup_lock("MDL_BACKUP_DML"),
                table_lock("MDL_SHARED_READ", NOTES),
                table_lock("MDL_SHARED_WRITE", SESSIONS),
            ],
            "writes shop.sessions (MyISAM)",
        ),
        (
            "ALTER TABLE orders FORCE",
            [backup_lock("MDL_BACKUP_DDL"), table_lock("MDL_SHARED_NO_WRITE", ORDERS)],
            "alters shop.orders",
        ),
        ("ALTER TABLE orders FORCE", [backup_lock("MDL_BACKUP_ALTER_COPY")], None),
        ("UPDATE orders SET n = 1", [backup_lock("MDL_BACKUP_TRANS_DML")], None),
        ("DROP DATABASE old", [backup_lock("MDL_BACKUP_DDL")], "drops old"),
        ("DROP VIEW v", [backup_lock("MDL_BACKUP_DDL")], "changes something"),
        (UPDATE, [table_lock("MDL_SHARED_WRITE", SESSIONS)], None),
        ("SELECT GET_LOCK('MDL_BACKUP_DML', 1)", [("MDL_BACKUP_DML", "User lock", SESSIONS)], None),
    ],
)
def test_locks_tell_what_the_statement_does_not(
    statement: str, locks: list[tuple[str, str, TableName]], why: str | None
) -> None:
    assert whys(by_locks(connection(statement), *locks)) == ([why] if why else [])


def test_who_waits_for_the_backup_is_no_blocker_whatever_it_holds() -> None:
    assert by_locks(connection(state="Waiting for backup lock"), backup_lock("MDL_BACKUP_DDL")) == ()


def test_the_end_of_a_statement_does_not_unlock_tables() -> None:
    (blocker,) = by_locks(connection(), backup_lock("MDL_BACKUP_DML"), table_lock("MDL_SHARED_NO_READ_WRITE", SESSIONS))
    assert blocker.why == "holds LOCK TABLES ... WRITE on shop.sessions"
    assert blocker.protected == "has locked tables: KILL QUERY would not release them"


@pytest.mark.parametrize(
    ("one", "protected"),
    [
        (connection(user="system user", command="Slave_SQL"), "a replication thread"),
        (connection(user="system user", command="Slave_worker"), "a replication thread"),
        (connection(user="repl", command="Binlog Dump"), "a replication thread"),
        (connection(user="system user", command="Sleep"), "a system thread"),
        (connection(user="shop", command="Delayed insert"), "a system thread"),
        (connection(user="backup_agent", own=True), "our own"),
        (connection(user="root"), "has SUPER"),
        (connection(user="stranger"), "its privileges can't be told"),
        (connection(user="forgotten"), "its privileges can't be told"),
        (connection(user="shop", command="Connect"), None),
    ],
)
def test_who_must_not_be_killed_is_protected(one: Connection, protected: str | None) -> None:
    suspects = suspects_by_statements([one], fold=False)
    (blocker,) = judge(suspects, ENGINES, {"shop": False, "root": True, "stranger": None})
    assert blocker.protected == protected


ROOT = Account("root", has_super=True, is_role=False)
SHOP = Account("shop", has_super=False, is_role=False)


def test_users_have_super_when_one_of_their_accounts_does() -> None:
    accounts = [ROOT, SHOP, Account("shop", has_super=True, is_role=False)]
    assert has_super("root", accounts)
    assert has_super("shop", accounts)


def test_users_without_super_are_known_by_their_accounts() -> None:
    assert has_super("shop", [ROOT, SHOP, Account("reader", has_super=False, is_role=True)]) is False


@pytest.mark.parametrize(
    "accounts",
    [
        [],
        [ROOT],
        [SHOP, Account("boss", has_super=True, is_role=True)],
        [Account("shop", has_super=False, is_role=True)],
    ],
    ids=["may not be read", "no account", "a role may give it", "only a role of this name"],
)
def test_when_privileges_can_not_be_told_nothing_is_claimed(accounts: list[Account]) -> None:
    assert has_super("shop", accounts) is None


def test_anonymous_accounts_may_be_anyone() -> None:
    assert has_super("x", [Account("", has_super=True, is_role=False)]) is True
    assert has_super("x", [Account("", has_super=False, is_role=False)]) is False


@pytest.mark.parametrize(
    ("file", "engine"),
    [
        ("t.MYI", "MyISAM"),
        ("t.CSV", "CSV"),
        ("t.ARZ", "ARCHIVE"),
        ("t.MRG", "MERGE"),
        ("t@@@.MYI", "MyISAM"),
        ("t.ibd", None),
        ("T.MYI", None),
        ("t2.MYI", None),
    ],
)
def test_the_engine_is_told_by_the_tables_files(tmp_path: Path, file: str, engine: str | None) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / file).touch()
    table = TableName("shop", "t")
    found = nontransactional(tmp_path, [table], {"shop": "shop", "t": "t"})
    assert found == ({table: engine} if engine else {})


@pytest.mark.parametrize("page_checksum", [True, False])
def test_aria_tables_that_are_copied_online_are_transactional(tmp_path: Path, *, page_checksum: bool) -> None:
    (tmp_path / "shop").mkdir()
    header = aria_header(transactional=True, page_checksum=page_checksum)
    (tmp_path / "shop" / "notes.MAI").write_bytes(header)
    found = nontransactional(tmp_path, [NOTES], {"shop": "shop", "notes": "notes"})
    assert found == ({} if page_checksum else {NOTES: "Aria"})


def test_partitions_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a@002db").mkdir()
    for name in ("t.par", "t#P#p0.ibd", "t#P#p1.MYI", "u.par", "u#P#p0.ibd"):
        (tmp_path / "a@002db" / name).touch()
    tables = [TableName("a-b", "t"), TableName("a-b", "u")]
    found = nontransactional(tmp_path, tables, {"a-b": "a@002db", "t": "t", "u": "u"})
    assert found == {tables[0]: "MyISAM"}


def test_tables_that_are_not_there_or_can_not_be_are_not_found(tmp_path: Path) -> None:
    tables = [TableName("gone", "t"), TableName("", "t"), TableName("shop", "x" * 65), TableName("gone", "")]
    assert nontransactional(tmp_path, tables, {"gone": "gone", "t": "t", "shop": "x" * 400}) == {}
    assert nontransactional(tmp_path, [TableName("long", "t")], {"long": "x" * 400, "t": "t"}) == {}

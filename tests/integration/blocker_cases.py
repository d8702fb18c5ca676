"""Statements of every kind, and whether a backup waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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


def tables() -> Iterator[str]:
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

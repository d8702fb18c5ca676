"""The tables of a journal, and how its file says what it is. What it does not do: read or write jobs.

The version changes with every change of a table. A journal of an older version is brought to this one in place, in one
transaction; a newer one is refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

APPLICATION_ID = 0x62614A31
"""`baJ1`, in the file's header, where `file` and SQLite look for it."""
VERSION = 3
WITH_TASKS, WITH_VERDICTS = 2, 3
"""The first version of those that know them."""
SQLITE = (3, 37, 0)
"""The first one that knows STRICT tables; Debian 12 has 3.40."""

_TABLES = {
    "about": """
        CREATE TABLE about (
            created TEXT NOT NULL
        ) STRICT""",
    "jobs": """
        CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            command TEXT NOT NULL,
            origin TEXT NOT NULL,
            received TEXT NOT NULL,
            expires TEXT,
            owner_pid INTEGER,
            owner_started TEXT,
            engine_pid INTEGER,
            engine_started TEXT,
            state TEXT NOT NULL,
            phase TEXT,
            attempts INTEGER NOT NULL,
            sequence INTEGER NOT NULL DEFAULT 0,
            cancelled INTEGER NOT NULL DEFAULT 0,
            unclean INTEGER NOT NULL DEFAULT 0,
            begun TEXT,
            progress BLOB,
            last_type TEXT,
            last_routing_key TEXT,
            last_event BLOB,
            updated TEXT NOT NULL,
            ended TEXT
        ) STRICT""",
    "jobs_active": "CREATE INDEX jobs_active ON jobs (number) WHERE ended IS NULL",
    "jobs_unclean": "CREATE INDEX jobs_unclean ON jobs (number) WHERE unclean",
    "jobs_ended": "CREATE INDEX jobs_ended ON jobs (state, ended)",
    "outbox": """
        CREATE TABLE outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            backup_id TEXT NOT NULL,
            type TEXT NOT NULL,
            routing_key TEXT NOT NULL,
            body BLOB NOT NULL,
            recorded TEXT NOT NULL
        ) STRICT""",
    "outbox_backup": "CREATE INDEX outbox_backup ON outbox (backup_id, type)",
    "tasks": """
        CREATE TABLE tasks (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            backup_id TEXT,
            command TEXT NOT NULL,
            origin TEXT NOT NULL,
            received TEXT NOT NULL,
            expires TEXT,
            beside TEXT NOT NULL,
            owner_pid INTEGER,
            owner_started TEXT,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            notes TEXT,
            last_backup_id TEXT,
            last_type TEXT,
            last_routing_key TEXT,
            last_event BLOB,
            updated TEXT NOT NULL,
            ended TEXT
        ) STRICT""",
    "tasks_open": "CREATE INDEX tasks_open ON tasks (number) WHERE ended IS NULL",
    "told": """
        CREATE TABLE told (
            backup_id TEXT PRIMARY KEY,
            sequence INTEGER NOT NULL,
            state TEXT NOT NULL,
            updated TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    "outcomes": """
        CREATE TABLE outcomes (
            type TEXT PRIMARY KEY,
            count INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    "verdicts": """
        CREATE TABLE verdicts (
            level TEXT NOT NULL,
            result TEXT NOT NULL,
            backup_id TEXT NOT NULL,
            time TEXT NOT NULL,
            seconds_to_serve REAL,
            PRIMARY KEY (level, result)
        ) STRICT, WITHOUT ROWID""",
}
STATEMENTS: Mapping[str, str] = {name: " ".join(statement.split()) for name, statement in _TABLES.items()}
"""What makes each table and index, by its name, as SQLite keeps it. AUTOINCREMENT: no number is given twice,
so that a late `confirmed` can't remove another event.
"""
_FIRST_OUTBOX = STATEMENTS["outbox"].replace(
    "backup_id TEXT NOT NULL,", "backup_id TEXT NOT NULL REFERENCES jobs (id),"
)
_SINCE_SECOND = ("tasks", "tasks_open", "told")
_SINCE_THIRD = ("verdicts",)
_SECOND = {name: statement for name, statement in STATEMENTS.items() if name not in _SINCE_THIRD}
_FIRST = {name: statement for name, statement in _SECOND.items() if name not in _SINCE_SECOND}
_KNOWN: Mapping[int, Mapping[str, str]] = {1: {**_FIRST, "outbox": _FIRST_OUTBOX}, 2: _SECOND, VERSION: STATEMENTS}
"""What is in a journal of each version that can be brought to this one."""


def write(raw: sqlite3.Connection, created: str) -> None:
    """Makes an empty database a journal."""
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("BEGIN IMMEDIATE")
    for statement in STATEMENTS.values():
        raw.execute(statement)
    raw.execute("INSERT INTO about (created) VALUES (?)", (created,))
    raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    raw.execute(f"PRAGMA user_version = {VERSION}")
    raw.execute("COMMIT")


def migrate(raw: sqlite3.Connection, version: int) -> None:
    """Brings a sound journal of an older version to this one, whole or not at all. Another process may have been
    faster.
    """
    raw.execute("BEGIN IMMEDIATE")
    try:
        if raw.execute("PRAGMA user_version").fetchone()[0] == version:
            if version == 1:
                _to_second(raw)
            for name in _SINCE_THIRD:
                raw.execute(STATEMENTS[name])
            raw.execute(f"PRAGMA user_version = {VERSION}")
        raw.execute("COMMIT")
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


def _to_second(raw: sqlite3.Connection) -> None:
    """With tasks; and the outbox takes events of backups that have no job. Its numbers go on where they were."""
    counted = raw.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchall()
    raw.execute("CREATE TEMPORARY TABLE waiting AS SELECT * FROM outbox")
    raw.execute("DROP TABLE outbox")
    for name in ("outbox", "outbox_backup", *_SINCE_SECOND):
        raw.execute(STATEMENTS[name])
    raw.execute("INSERT INTO outbox SELECT * FROM waiting ORDER BY id")
    raw.execute("DROP TABLE waiting")
    raw.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    raw.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", counted)


class Unfit(Exception):  # noqa: N818 - a finding; nobody but this package sees it
    """A file that SQLite can read and that is no sound journal. `kind`: `corrupt`, or `foreign`."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def judge(raw: sqlite3.Connection, size: int | None) -> int:
    """The version of a journal. One of this program's version, or an older one, is sound. Raises Unfit, and
    sqlite3.Error.

    `size` is the file's; None when there is a -wal file, which may hold what an interrupted write left out.
    """
    application = raw.execute("PRAGMA application_id").fetchone()[0]
    version: int = raw.execute("PRAGMA user_version").fetchone()[0]
    if not application and not raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise Unfit("corrupt", "it is empty")
    if application != APPLICATION_ID:
        raise Unfit("foreign", f"it is another program's database (application id {application:#010x})")
    if version > VERSION:
        return version
    if size is not None and size % raw.execute("PRAGMA page_size").fetchone()[0]:
        raise Unfit("corrupt", "its end is missing")  # SQLite would take it for zeros
    faulty = [row[0] for row in raw.execute("PRAGMA quick_check(1)") if row[0] != "ok"]
    if faulty:
        raise Unfit("corrupt", " ".join(faulty[0].split()))
    if _found(raw) != _KNOWN.get(version):
        raise Unfit("corrupt", f"its tables are not those of version {VERSION}")
    return version


def _found(raw: sqlite3.Connection) -> dict[str, str]:
    """The tables and indexes that are there, as STATEMENTS has them; those SQLite makes for itself left out."""
    return dict(raw.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"))

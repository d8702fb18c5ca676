"""What a restored data directory must be: one that a server starts on without complaint, every table in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mariadb import Options, PrivateMariaDB

_WITHOUT_TABLES = ("information_schema", "performance_schema", "sys")
_CHECKABLE = ("BASE TABLE", "SYSTEM VERSIONED")
_KINDS = (*_CHECKABLE, "SEQUENCE")


@contextmanager
def serving(datadir: Path, *, extra_options: Options = ()) -> Iterator[PrivateMariaDB]:
    """A server on `datadir`; fails when its error log has an error by the end."""
    base = datadir.with_name(f"{datadir.name}.server")
    with PrivateMariaDB(base, datadir=datadir, extra_options=extra_options) as server:
        yield server
        assert complaints(server) == []


def complaints(server: PrivateMariaDB) -> list[str]:
    return [line for line in server.error_log.read_text("utf-8", "replace").splitlines() if "[ERROR]" in line]


def broken_tables(server: PrivateMariaDB) -> list[tuple[str, ...]]:
    """What CHECK TABLE EXTENDED says of the tables, the server's own included, but that they are in order."""
    databases = [str(row[0]) for row in server.query("SHOW DATABASES") if row[0] not in _WITHOUT_TABLES]
    names = [name for database in databases for name in _tables(server, database, _CHECKABLE)]
    said = server.query(f"CHECK TABLE {', '.join(names)} EXTENDED")
    in_order = {row[0] for row in said if row[2:] == ("status", "OK")}
    return [row for row in said if row[0] not in in_order]


def contents(server: PrivateMariaDB, database: str) -> dict[str, tuple[int, int | None]]:
    """Rows and CHECKSUM TABLE of every table of `database`."""
    names = _tables(server, database, _KINDS)
    counts = server.query(
        " UNION ALL ".join(f"SELECT {at} AS place, COUNT(*) FROM {name}" for at, name in enumerate(names))
        + " ORDER BY place"
    )
    sums = server.query(f"CHECKSUM TABLE {', '.join(names)}")
    return {name: (count, checksum) for (name, checksum), (_, count) in zip(sums, counts, strict=True)}


def definitions(server: PrivateMariaDB, database: str) -> dict[str, str]:
    """How the server would make each table and view of `database` again."""
    names = [str(row[0]) for row in server.query(f"SHOW TABLES FROM `{database}`")]
    with server.connect() as connection, connection.cursor() as cursor:
        made = {}
        for name in names:
            cursor.execute(f"SHOW CREATE TABLE `{database}`.`{name}`")
            made[name] = str(cursor.fetchall()[0][1])
    return made


def _tables(server: PrivateMariaDB, database: str, kinds: Sequence[str]) -> list[str]:
    """Quoted for SQL."""
    rows = server.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN %s ORDER BY 1",
        (database, tuple(kinds)),
    )
    return [f"`{database}`.`{name}`" for (name,) in rows]

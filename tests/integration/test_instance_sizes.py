"""The bytes we say are write-locked are those that mariadb-backup copies from BACKUP STAGE FLUSH on."""

from __future__ import annotations

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from backup_agent.instance.datadir import measure
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

TABLE_FILE = re.compile(r"(?:aria table file|Copied file) \./(\S+\.(?:MAI|MAD|MYI|MYD|CSM|CSV|ARZ)) ")


def copied_under_lock(stderr: str) -> set[str]:
    """Table files that the log names after FLUSH began."""
    before, flush, after = stderr.partition("BACKUP STAGE FLUSH")
    assert flush
    assert TABLE_FILE.search(before)
    return set(TABLE_FILE.findall(after))


def test_every_kind_of_table_is_counted_as_mariadb_backup_treats_it(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "server", extra_options=["plugin-load-add=ha_archive"]) as server:
        server.execute("CREATE DATABASE d")
        kinds = [
            "MyISAM",
            "CSV",
            "ARCHIVE",
            "InnoDB",
            *(
                f"Aria TRANSACTIONAL={transactional} PAGE_CHECKSUM={checksum} ROW_FORMAT={form}"
                for transactional, checksum, form in product((0, 1, "DEFAULT"), (0, 1), ("FIXED", "DYNAMIC", "PAGE"))
            ),
        ]
        for number, kind in enumerate(kinds):
            table = f"d.t{number}"
            server.execute(
                "USE d",
                f"CREATE TABLE {table} (n INT NOT NULL, s VARCHAR(200) NOT NULL) ENGINE={kind}",
                f"INSERT INTO {table} SELECT seq, REPEAT('x', 100) FROM seq_1_to_500",
            )
        server.execute("FLUSH TABLES")
        sizes = measure(server.datadir)
        stderr = back_up(server, tmp_path / "backup")
        locked = copied_under_lock(stderr)
        assert sizes.nontransactional == sum((server.datadir / name).stat().st_size for name in locked)


def back_up(server: PrivateMariaDB, target: Path) -> str:
    """The log of the stock tool."""
    done = subprocess.run(
        [
            "mariadb-backup",
            f"--defaults-file={server.defaults_file}",
            "--backup",
            f"--target-dir={target}",
            "--user=root",
            f"--socket={server.socket}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_total_is_about_what_a_full_backup_copies_beside_the_redo_log(
    mariadb: PrivateMariaDB, tmp_path: Path
) -> None:
    mariadb.execute(
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE d.t (n INT PRIMARY KEY, s VARCHAR(200)) ENGINE=InnoDB",
        "INSERT INTO d.t SELECT seq, REPEAT('x', 200) FROM seq_1_to_50000",
    )
    total = measure(mariadb.datadir).total
    back_up(mariadb, tmp_path / "backup")
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file() and path.name != "ib_logfile0"]
    assert total == pytest.approx(sum(path.stat().st_size for path in files), rel=0.02)

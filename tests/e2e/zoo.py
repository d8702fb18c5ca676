"""A database with a table of every kind, and changes to all of them that are the same in every run."""

from __future__ import annotations

from typing import Final

from tests.servers.mariadb import PrivateMariaDB

OPTIONS: Final = {
    "innodb": "ENGINE=InnoDB",
    "innodb_compressed": "ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
    "innodb_pages": "ENGINE=InnoDB PAGE_COMPRESSED=1",
    "innodb_parts": "ENGINE=InnoDB PARTITION BY RANGE (id)"
    " (PARTITION low VALUES LESS THAN (300), PARTITION high VALUES LESS THAN MAXVALUE)",
    "myisam": "ENGINE=MyISAM",
    "myisam_parts": "ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 3",
    "aria": "ENGINE=Aria TRANSACTIONAL=1",
    "aria_plain": "ENGINE=Aria TRANSACTIONAL=0",
    "odd \u00e9 name.frm #P#": "ENGINE=InnoDB",
    "odd \u00e9 name.MYD #P#": "ENGINE=MyISAM",
}
"""By table: what all have in common are the columns id, what and data."""
BLOB_BYTES: Final = 3 << 20
"""Of one row: more than a chunk of 1 MiB."""


def create(server: PrivateMariaDB) -> None:
    server.execute(
        "INSTALL SONAME 'ha_archive'",
        "CREATE DATABASE zoo",
        *(
            f"CREATE TABLE zoo.{quoted(name)} (id INT PRIMARY KEY, what VARCHAR(100), data INT) {options}"
            for name, options in OPTIONS.items()
        ),
        "CREATE TABLE zoo.csv (id INT NOT NULL, what VARCHAR(100) NOT NULL) ENGINE=CSV",
        "CREATE TABLE zoo.archive (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100)) ENGINE=ARCHIVE",
        "CREATE TABLE zoo.merged (id INT PRIMARY KEY, what VARCHAR(100), data INT) ENGINE=MERGE UNION=(zoo.myisam)",
        "CREATE TABLE zoo.blobs (id INT PRIMARY KEY, blob_ LONGBLOB) ENGINE=InnoDB",
        "CREATE TABLE zoo.myisam_blobs (id INT PRIMARY KEY, blob_ LONGBLOB) ENGINE=MyISAM",
        "CREATE TABLE zoo.generated (id INT PRIMARY KEY, twice INT AS (id * 2) STORED,"
        " text VARCHAR(20) AS (CONCAT('row ', id)) VIRTUAL, KEY (text)) ENGINE=InnoDB",
        "CREATE TABLE zoo.words (id INT PRIMARY KEY, words TEXT, FULLTEXT KEY (words)) ENGINE=InnoDB",
        "CREATE TABLE zoo.parent (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE TABLE zoo.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES zoo.parent (id)) ENGINE=InnoDB",
        "CREATE TABLE zoo.versioned (id INT PRIMARY KEY, data INT) ENGINE=InnoDB WITH SYSTEM VERSIONING",
        "CREATE TABLE zoo.wanderer ENGINE=InnoDB SELECT seq FROM mysql.seq_1_to_50",
        "CREATE TABLE zoo.wandering_parts (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 2",
        "INSERT INTO zoo.wandering_parts SELECT seq FROM mysql.seq_1_to_50",
        "CREATE SEQUENCE zoo.numbers ENGINE=InnoDB",
        "CREATE VIEW zoo.overview AS SELECT COUNT(*) AS amount, SUM(data) AS total FROM zoo.innodb",
        "CREATE TABLE zoo.audit (id INT AUTO_INCREMENT PRIMARY KEY, innodb_id INT) ENGINE=Aria",
        "CREATE TRIGGER zoo.note AFTER INSERT ON zoo.innodb FOR EACH ROW"
        " INSERT INTO zoo.audit (innodb_id) VALUES (NEW.id)",
        "CREATE PROCEDURE zoo.count_up(OUT amount INT) SELECT COUNT(*) INTO amount FROM zoo.innodb",
    )


def change(server: PrivateMariaDB, step: int) -> None:
    """Inserts, updates and deletes in every table, and some DDL; `step` counts from 0."""
    first, last = 100 * step + 1, 100 * step + 100
    numbers = f"mysql.seq_{first}_to_{last}"
    for name in OPTIONS:
        table = f"zoo.{quoted(name)}"
        server.execute(
            f"INSERT INTO {table} SELECT seq, CONCAT('row ', seq, REPEAT('.', seq % 80)), seq * 7 FROM {numbers}",
            f"UPDATE {table} SET data = data + 1 WHERE id % 5 = {step % 5}",
            f"DELETE FROM {table} WHERE id % 37 = {step % 37}",
        )
    server.execute(
        f"INSERT INTO zoo.csv SELECT seq, CONCAT('csv ', seq) FROM {numbers}",
        f"INSERT INTO zoo.archive (what) SELECT CONCAT('archive ', seq) FROM {numbers}",
        f"INSERT INTO zoo.blobs VALUES ({step}, REPEAT(MD5({step}), {BLOB_BYTES // 32}))",
        f"INSERT INTO zoo.myisam_blobs VALUES ({step}, REPEAT(MD5({step}), {BLOB_BYTES // 32}))",
        f"INSERT INTO zoo.generated (id) SELECT seq FROM {numbers}",
        f"INSERT INTO zoo.words SELECT seq, CONCAT('word', seq, ' and others') FROM {numbers}",
        f"INSERT INTO zoo.parent SELECT seq FROM {numbers}",
        f"INSERT INTO zoo.child SELECT seq FROM {numbers} WHERE seq % 2",
        f"REPLACE INTO zoo.versioned SELECT seq % 10, seq FROM {numbers}",
        "SELECT NEXT VALUE FOR zoo.numbers",
    )
    _alter(server, step)


def _alter(server: PrivateMariaDB, step: int) -> None:
    """DDL between backups: tables and databases come, change and go again."""
    for engine in ("InnoDB", "MyISAM", "Aria"):
        server.execute(
            f"CREATE TABLE zoo.{engine}_new_{step} ENGINE={engine} SELECT seq, 'new' AS what FROM mysql.seq_1_to_50"
        )
        if step > 0:
            server.execute(f"RENAME TABLE zoo.{engine}_new_{step - 1} TO zoo.{engine}_renamed_{step - 1}")
        if step > 1:
            server.execute(f"ALTER TABLE zoo.{engine}_renamed_{step - 2} ADD COLUMN more INT DEFAULT {step}, FORCE")
        if step > 2:
            server.execute(f"DROP TABLE zoo.{engine}_renamed_{step - 3}")
    engine = ("MyISAM", "Aria", "InnoDB")[step % 3]
    server.execute(f"ALTER TABLE zoo.wanderer ENGINE={engine}", f"ALTER TABLE zoo.wandering_parts ENGINE={engine}")
    server.execute(f"CREATE DATABASE fleeting_{step}", f"CREATE TABLE fleeting_{step}.t ENGINE=MyISAM SELECT 1 AS one")
    if step > 0:
        server.execute(f"DROP DATABASE fleeting_{step - 1}")
    if step == 3:
        server.execute("ALTER TABLE zoo.myisam_parts ADD PARTITION PARTITIONS 2", "TRUNCATE TABLE zoo.aria")


def quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"

"""A small instance with a chain whose last backup holds broken tables, and agents that verify copies of its store."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.in_process import SMALL_INSTANCE, SMALL_SERVER, scratch_directory, take_backups
from tests.faults.agents import ConfinedAgent, Sections
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

CREATE = (
    "CREATE DATABASE shop",
    "INSTALL SONAME 'ha_archive'",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARCHAR(64), KEY (what)) ENGINE=InnoDB",
    "INSERT INTO shop.orders SELECT seq, SHA2(seq, 256) FROM mysql.seq_1_to_5000",
    "CREATE TABLE shop.parts (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3",
    "INSERT INTO shop.parts SELECT seq FROM mysql.seq_1_to_100",
    "CREATE TABLE shop.`odd ``name``` (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE shop.old (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=ARCHIVE",
    "INSERT INTO shop.old VALUES (), (), ()",
    "CREATE SEQUENCE shop.numbers",
    "CREATE VIEW shop.overview AS SELECT what FROM shop.orders",
    "CREATE EVENT shop.later ON SCHEDULE EVERY 1 SECOND DO DELETE FROM shop.orders",
)
BREAK = (
    "CREATE TABLE shop.split (id INT PRIMARY KEY, word CHAR(20), KEY (word)) ENGINE=InnoDB",
    "INSERT INTO shop.split SELECT seq, CONCAT('word-', LPAD(seq, 5, '0')) FROM mysql.seq_1_to_2000",
    "CREATE TABLE shop.torn (id INT PRIMARY KEY, what VARCHAR(200)) ENGINE=MyISAM",
    "INSERT INTO shop.torn SELECT seq, REPEAT(SHA1(seq), 1 + seq % 4) FROM mysql.seq_1_to_500",
)
BROKEN = ("shop.split", "shop.torn")


@dataclass(frozen=True)
class Verifiable:
    """A full backup, a good incremental of it, and one of that in which two tables are broken."""

    server: PrivateMariaDB
    agent: ConfinedAgent
    scratch: Path
    full: str
    good: str
    broken: str

    @property
    def chain(self) -> list[str]:
        return [self.full, self.good, self.broken]

    def copy(self, base: Path, extra: Mapping[str, Mapping[str, object]] | None = None) -> ConfinedAgent:
        """Another agent of the instance, with a copy of the store."""
        sections: dict[str, dict[str, object]] = {name: dict(values) for name, values in settings(self.scratch).items()}
        for name, values in (extra or {}).items():
            sections.setdefault(name, {}).update(values)
        agent = ConfinedAgent(base, self.server, instance_id=self.agent.instance_id, extra=sections)
        shutil.copytree(self.agent.store, agent.store)
        return agent


def settings(scratch: Path) -> Sections:
    return {
        "stream": {"chunk_mib": 1, "memory_mib": 16},
        "engine": {"prepare_memory_mib": 16},
        "verify": {
            "scratch_dir": str(scratch),
            "buffer_pool_mib": 16,
            "server_args": SMALL_SERVER,
            "nice": 0,
            "ionice": "none",
        },
    }


@contextmanager
def verifiable(base: Path) -> Iterator[Verifiable]:
    with scratch_directory() as scratch, PrivateMariaDB(base / "mariadb", extra_options=SMALL_INSTANCE) as server:
        create_agent_user(server)
        server.execute("DROP DATABASE sys", *CREATE)
        agent = ConfinedAgent(base / "agent", server, extra=settings(scratch))
        with closing(take_backups(agent)) as backups:
            full = next(backups)["id"]
            server.execute("INSERT INTO shop.orders SELECT seq, SHA2(seq, 256) FROM mysql.seq_5001_to_6000")
            good = next(backups)["id"]
            break_tables(server)
            broken = next(backups)["id"]
        server.execute(*(f"DROP TABLE {table}" for table in BROKEN))
        yield Verifiable(server, agent, scratch, full, good, broken)


def break_tables(server: PrivateMariaDB) -> None:
    """As a faulty disk or a bug does it, unnoticed by whoever copies files: all checksums of pages are right."""
    server.execute(*BREAK)
    server.stop()
    directory = server.datadir / "shop"
    torn = bytearray((directory / "torn.MYD").read_bytes())
    torn[len(torn) // 2 : len(torn) // 2 + 400] = b"\xff" * 400
    (directory / "torn.MYD").write_bytes(torn)
    split = directory / "split.ibd"
    split.write_bytes(split.read_bytes().replace(b"word-01000", b"zzzz-01000"))
    subprocess.run(["innochecksum", "--no-check", "--write", split], check=True, capture_output=True)
    server.start()


def wrapper(path: Path, lines: Sequence[str], *, otherwise: str = 'exec mariadbd "$@"') -> Path:
    """A server of a test's own: says which version it is, does `lines`, then what follows."""
    version = 'case "$*" in *--version) exec mariadbd --no-defaults --version;; esac'
    path.write_text("\n".join(["#!/bin/sh", version, *lines, otherwise]) + "\n")
    path.chmod(0o755)
    return path


def results(agent: ConfinedAgent, backup_id: str) -> list[Path]:
    """The objects of a backup's verifications, the oldest first."""
    return sorted(agent.directory(backup_id).glob("verify/*.json"))

"""A throw-away host with systemd, a MariaDB of Debian's modes, and the agent as `make install` puts it there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backup_agent.instance.grants import create_user_statements
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER
from tests.servers.nspawn import Host, agent_program

REPOSITORY = Path(__file__).parents[2]
INSTANCE = "8b9c6a51-9a4f-4c5e-8f43-0f6d5b1a2c3d"
STORE = "/srv/backups"
CONFIG = "/etc/backup-agent/backup-agent.toml"
_DATABASE = """[Unit]
Description=MariaDB

[Service]
Type=notify
User=mysql
Group=mysql
StateDirectory=mysql
StateDirectoryMode=0700
RuntimeDirectory=mysqld
PrivateTmp=yes
ExecStart=/usr/sbin/mariadbd --no-defaults --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock \
    --skip-networking --skip-name-resolve --log-bin=binlog --server-id=1 --innodb-flush-method=nosync \
    --innodb-buffer-pool-size=32M --innodb-log-file-size=32M \
    --performance-schema=OFF --max-connections=50
TimeoutStopSec=60
"""


def installed(tree: Path) -> Path:
    """What `make install` makes below `tree`, in places that a host without a writable /usr has."""
    subprocess.run(
        ["make", "-s", "install", f"DESTDIR={tree}", "PREFIX=/opt/local", "UNITDIR=/etc/systemd/system"],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return tree


def prepare(host: Host, base: Path, *, extra: Mapping[str, Mapping[str, object]] | None = None) -> None:
    """Brings a booted host there: the database runs, the agent is installed and configured, none of its units runs."""
    host.add_tree(installed(base / "installed"))
    host.write("/opt/backup-agent/bin/backup-agent", agent_program(), mode=0o755)
    host.write("/etc/systemd/system/mariadb.service", _DATABASE)
    host.write("/etc/sysusers.d/mysql.conf", 'u mysql - "MariaDB" /nonexistent\n')
    host.write("/etc/hosts", "127.0.0.1 localhost\n")
    host.run("systemd-sysusers")
    host.run("systemd-tmpfiles", "--create", "backup-agent.conf")
    host.run("install", "-d", "-o", "backup-agent", "-g", "backup-agent", STORE)
    for unit in ("backup-agent", "backup-agent-full", "backup-agent-incremental"):
        host.write(f"/etc/systemd/system/{unit}.service.d/50-store.conf", f"[Service]\nReadWritePaths={STORE}\n")
    configure(host, extra or {})
    host.systemctl("daemon-reload")
    install_database(host)


_CLIENT = ("mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--user=root", "--skip-column-names")


def install_database(host: Host) -> None:
    host.run("install", "-d", "-m700", "-o", "mysql", "-g", "mysql", "/var/lib/mysql")
    host.run(
        *(
            "setpriv",
            "--reuid=mysql",
            "--regid=mysql",
            "--clear-groups",
            "mariadb-install-db",
            "--no-defaults",
            "--datadir=/var/lib/mysql",
        ),
        *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
    )
    host.systemctl("start", "mariadb.service")
    sql(host, *create_user_statements(AGENT_USER, AGENT_PASSWORD, "localhost", replica=False))
    sql(host, *CREATE_SHOP)


def sql(host: Host, *statements: str) -> str:
    """Runs statements as the database's root; what they printed."""
    return host.run(*_CLIENT, stdin=";\n".join(statements)).stdout


CREATE_SHOP = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(1024)) ENGINE=InnoDB",
    "CREATE TABLE shop.notes (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(1024)) ENGINE=MyISAM",
    "INSERT INTO shop.orders (what) SELECT RANDOM_BYTES(1024) FROM mysql.seq_1_to_4000",
    "INSERT INTO shop.notes (what) SELECT RANDOM_BYTES(1024) FROM mysql.seq_1_to_1000",
)


@contextmanager
def notes_are_written(host: Host) -> Iterator[None]:
    """A backup that begins meanwhile waits before it locks tables, if `locks.on_blocker` is `wait`."""
    statement = "UPDATE shop.notes SET what = what WHERE id = 1 AND SLEEP(600) = 0"
    client = " ".join(_CLIENT)
    host.sh(f"exec setsid {client} --execute='{statement}' < /dev/null > /dev/null 2>&1 &")
    number = "SELECT MIN(id) FROM information_schema.PROCESSLIST WHERE info LIKE 'UPDATE shop.notes%'"
    until(lambda: sql(host, number).strip() != "NULL", "the long statement")
    try:
        yield
    finally:
        if host.show("mariadb.service", "ActiveState") == "active":
            sql(host, f"KILL {sql(host, number).strip()}")


def configure(host: Host, extra: Mapping[str, Mapping[str, object]]) -> None:
    """The configuration file, as the README has it made: root's, mode 0600. `extra` is merged into it by section."""
    sections: dict[str, dict[str, object]] = {
        "instance": {
            "id": INSTANCE,
            "account_id": "1234",
            "socket": "/run/mysqld/mysqld.sock",
            "user": AGENT_USER,
            "password": AGENT_PASSWORD,
        },
        "store": {"url": f"file://{STORE}", "retry_for_s": 5},
        "spool": {"max_mib": 256, "min_free_mib": 0},
        "locks": {"on_blocker": "wait"},
    }
    for section, values in extra.items():
        sections.setdefault(section, {}).update(values)
    lines = [
        line
        for section, values in sections.items()
        for line in (f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
    ]
    host.write(CONFIG, "\n".join(lines) + "\n", mode=0o600)


def backups(host: Host) -> list[dict[str, Any]]:
    """What the store holds, the newest first."""
    listed = host.run("/opt/backup-agent/bin/backup-agent", "list", "--config", CONFIG, "--json").stdout
    found: list[dict[str, Any]] = json.loads(listed)["backups"]
    return found

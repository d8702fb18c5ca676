"""`python -m demo`: exit status 0 only when every table came back as it was."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.shop import DATABASE, Sales, fill
from tests.agent import checksums
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class Command:
    """The agent's command line, on a configuration that leaves nearly everything to the defaults."""

    def __init__(self, directory: Path, server: PrivateMariaDB, store_url: str) -> None:
        self._config = directory / "backup-agent.toml"
        self._config.write_text(f"""
[instance]
id = "{uuid.uuid4()}"
account_id = "demo"
socket = "{server.socket}"
user = "{AGENT_USER}"
password = {json.dumps(AGENT_PASSWORD)}
runtime_dir = "{directory}/run"

[spool]
dir = "{directory}/spool"

[journal]
dir = "{directory}/journal"

[store]
url = "{store_url}"
""")
        self._config.chmod(0o600)
        self.peak_bytes = 0

    def run(self, *arguments: str) -> dict[str, Any]:
        """What the command printed. Ends the demo when it fails."""
        console.print(f"[dim]$ backup-agent {' '.join(arguments)}[/dim]")
        done = subprocess.run(
            [sys.executable, "-m", "backup_agent", *arguments, "--config", str(self._config), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            console.print(done.stderr, style="red", markup=False)
            sys.exit(f"backup-agent {arguments[0]} ended with status {done.returncode}")
        for line in map(json.loads, done.stderr.splitlines()):
            self.peak_bytes = max(self.peak_bytes, line.get("agent_bytes", 0))
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def backup(self, name: str, *arguments: str) -> dict[str, Any]:
        """Takes a backup; all that `show` knows of it."""
        taken = self.run("run-once", "--name", name, *arguments)
        backup: dict[str, Any] = self.run("show", taken["backup"]["id"])["backup"]
        return backup


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--scale", type=int, default=3, help="about 35 MB of data for each unit (default: 3)")
    parser.add_argument("--store-url", help="another store than a temporary directory, such as s3://bucket/prefix")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backup-agent-demo-") as name:
        directory = Path(name)
        return play(directory, options.store_url or f"file://{directory}/store", options.scale)


def play(directory: Path, store_url: str, scale: int) -> int:
    with PrivateMariaDB(directory / "mariadb") as server:
        console.print(f"A private MariaDB in {directory}; filling a shop with data.")
        create_agent_user(server)
        fill(server, scale)
        command = Command(directory, server, store_url)
        with Sales(server, 1_000_000) as first:
            full = command.backup("full")
        with Sales(server, 2_000_000) as second:
            incremental = command.backup("incremental", "--incremental")
        with Sales(server, 3_000_000) as third:
            third.wait_for(200)
        before = checksums(server, [DATABASE])
        last = command.backup("incremental of the incremental", "--parent", incremental["id"])
        sold = first.count + second.count + third.count
        console.print(f"{sold} sales were made meanwhile. Now the data directory is destroyed.")
        server.destroy_data()
    restored = command.run("restore", last["id"], "--target-dir", f"{directory}/restored")["restored"]
    with PrivateMariaDB(directory / "second", datadir=directory / "restored") as server:
        after = checksums(server, [DATABASE])
    _show_backups([full, incremental, last])
    same = _show_tables(before, after)
    binlog = restored["binlog"]
    console.print(f"Replication can go on from {binlog['file']}:{binlog['position']}, GTID {binlog['gtid']}.")
    console.print(f"Peak memory of the agent: {command.peak_bytes / (1 << 20):.0f} MiB.")
    console.print("[green]Every table came back as it was.[/green]" if same else "[red]Tables differ.[/red]")
    return 0 if same else 1


def _show_backups(backups: list[dict[str, Any]]) -> None:
    table = Table("backup", "type", "raw", "stored", "seconds", "MB/s", "MyISAM lock", "InnoDB lock")
    for backup in backups:
        raw = backup["raw_size"]
        seconds = (
            datetime.fromisoformat(backup["finished"]) - datetime.fromisoformat(backup["started"])
        ).total_seconds()
        table.add_row(
            backup["name"],
            backup["type"],
            f"{raw / 1e6:.1f} MB",
            f"{backup['stored_size'] / 1e6:.1f} MB",
            f"{seconds:.2f}",
            f"{raw / 1e6 / seconds:.0f}",
            f"{backup['lock']['nontransactional_ms']} ms",
            f"{backup['lock']['innodb_ms']} ms",
        )
    console.print(table)


def _show_tables(before: dict[str, tuple[int, int | None]], after: dict[str, tuple[int, int | None]]) -> bool:
    table = Table("table", "rows before", "rows after", "checksum before", "checksum after", "")
    for name in sorted(before.keys() | after.keys()):
        rows, checksum = before.get(name, (None, None))
        rows_after, checksum_after = after.get(name, (None, None))
        same = (rows, checksum) == (rows_after, checksum_after)
        table.add_row(
            name, str(rows), str(rows_after), str(checksum), str(checksum_after), "same" if same else "DIFFERENT"
        )
    console.print(table)
    return bool(before) and before == after


if __name__ == "__main__":
    sys.exit(main())

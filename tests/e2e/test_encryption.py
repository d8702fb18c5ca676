"""An encrypted and signed chain: read by whom it is for, with this program or without it, and by nobody else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.age_keys import AgeKey, age_key
from tests.agent import Agent
from tests.e2e.judging import contents, serving
from tests.e2e.test_by_hand import by_hand, recipes
from tests.faults.agents import Running
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
MARK = "Legible-Row-"
"""In every row: not to be found where it may not be read."""


@dataclass(frozen=True)
class Encrypted:
    agent: Agent
    full: str
    incremental: str
    rows: dict[str, tuple[int, int | None]]
    keys: tuple[AgeKey, AgeKey]
    verify_key: str


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, shared_mariadb: PrivateMariaDB) -> Iterator[Encrypted]:
    """A full, and its incremental that is not compressed, so that what is legible could be found."""
    base = tmp_path_factory.mktemp("encrypted")
    keys = age_key(base / "first.txt"), age_key(base / "second.txt")
    agent = Agent(
        base / "agent",
        shared_mariadb,
        extra={
            "stream": {"chunk_mib": 1, "memory_mib": 16},
            "encryption": {"recipients": [key.recipient for key in keys]},
            "signing": {"key_file": str(base / "signing.key"), "required": True},
        },
    )
    made = subprocess.run(
        [*agent.argv("list")[:3], "keys", "generate", "--out", base / "signing.key", "--json"],
        capture_output=True,
        check=True,
    )
    shared_mariadb.execute(
        "CREATE DATABASE sealed",
        "CREATE TABLE sealed.t (id INT PRIMARY KEY, what CHAR(100)) ENGINE=InnoDB",
        "CREATE TABLE sealed.m (id INT PRIMARY KEY, what CHAR(100)) ENGINE=MyISAM",
        f"INSERT INTO sealed.t SELECT seq, CONCAT('{MARK}', seq) FROM mysql.seq_1_to_3000",
        "INSERT INTO sealed.m SELECT * FROM sealed.t",
    )
    full = agent.backup()["id"]
    shared_mariadb.execute(f"INSERT INTO sealed.t SELECT seq, CONCAT('{MARK}', seq) FROM mysql.seq_3001_to_5000")
    text = agent.config_file.read_text()
    agent.config_file.write_text(text.replace("[stream]\n", '[stream]\ncompression = "none"\n'))
    incremental = agent.backup("--incremental")["id"]
    rows = contents(shared_mariadb, "sealed")
    yield Encrypted(agent, full, incremental, rows, keys, json.loads(made.stdout)["keys"]["verify_key"])
    shared_mariadb.execute("DROP DATABASE sealed")


@pytest.mark.parametrize("holder", [0, 1])
def test_each_recipient_restores_the_chain(encrypted: Encrypted, tmp_path: Path, holder: int) -> None:
    identity = str(encrypted.keys[holder].file)
    encrypted.agent.restore(encrypted.incremental, tmp_path / "target", "--identity", identity)
    with serving(tmp_path / "target") as server:
        assert contents(server, "sealed") == encrypted.rows


def test_nothing_in_the_store_is_legible_but_the_manifest(encrypted: Encrypted) -> None:
    for name in encrypted.agent.stored_files():
        assert MARK.encode() not in (encrypted.agent.store / name).read_bytes(), name
        assert name.endswith((".age", "manifest.json", "manifest.json.sig"))


@pytest.mark.parametrize("encryption", ["on", "off"])
def test_what_waits_in_the_spool_is_legible_only_without_encryption(
    encrypted: Encrypted, shared_mariadb: PrivateMariaDB, tmp_path: Path, encryption: str
) -> None:
    """Also the raw chunks that are spooled while tables are locked: the store is slow, and nearly all of it waits."""
    extra: dict[str, dict[str, object]] = {
        "stream": {"chunk_mib": 1, "memory_mib": 4, "compression": "none"},
        "store": {"bandwidth_limit_mib_s": 0.5},
    }
    if encryption == "on":
        extra["encryption"] = {"recipients": [encrypted.keys[0].recipient]}
    agent = Agent(tmp_path / "agent", shared_mariadb, extra=extra)
    spooled = b""

    def all_that_waits() -> bytes:
        content = b""
        for path in agent.spool_dir.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):
                content += path.read_bytes()
        return content

    with Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="finishing")
        until(lambda: len(all_that_waits()) > 4 << 20, "files in the spool")
        spooled = all_that_waits()
    assert (MARK.encode() in spooled) == (encryption == "off")


def test_the_manifest_names_the_recipients_by_fingerprint_alone(encrypted: Encrypted) -> None:
    data = (encrypted.agent.directory(encrypted.full) / "manifest.json").read_text()
    payload = json.loads(data)["payload"]
    assert payload["format"] == 2
    assert payload["encryption"]["scheme"] == "age"
    assert len(payload["encryption"]["recipients"]) == 2
    for key in encrypted.keys:
        assert key.recipient not in data


def test_backups_are_listed_and_shown_without_any_identity(encrypted: Encrypted) -> None:
    listed = encrypted.agent.run("list", "--json").json
    assert [backup["id"] for backup in listed["backups"]] == [encrypted.incremental, encrypted.full]
    assert (listed["unreadable"], listed["vanished"]) == ([], [])
    shown = encrypted.agent.run("show", encrypted.incremental, "--json").json["backup"]
    assert shown["chain"] == [encrypted.full, encrypted.incremental]
    assert len(shown["encryption"]["recipients"]) == 2


@pytest.mark.parametrize("given", ["none", "another's"])
def test_without_an_identity_it_was_encrypted_for_nothing_is_written(
    encrypted: Encrypted, tmp_path: Path, given: str
) -> None:
    options: list[str | Path] = []
    if given == "another's":
        options = ["--identity", age_key(tmp_path / "others.txt").file]
    outcome = encrypted.agent.run(
        "restore", encrypted.incremental, "--target-dir", tmp_path / "target", "--json", *options
    )
    assert (outcome.status, outcome.error["code"]) == (4, "identity_wrong" if options else "identity_missing")
    assert "SHA256:" in outcome.error["event"]
    assert not (tmp_path / "target").exists()


def test_age_zstd_and_mbstream_restore_without_this_program(encrypted: Encrypted, tmp_path: Path) -> None:
    """By the README's commands."""
    by_hand(
        recipes()[2].replace("/root/identity.txt", str(encrypted.keys[0].file)),
        encrypted.agent.directory(encrypted.full),
        tmp_path,
    )
    with serving(tmp_path / "full") as server:
        assert contents(server, "sealed")["sealed.m"] == encrypted.rows["sealed.m"]


def test_openssl_verifies_a_signature_by_the_documented_commands(encrypted: Encrypted, tmp_path: Path) -> None:
    commands = SECURITY.read_text().partition("```console\n")[2].partition("```")[0]
    script = "".join(line.removeprefix("$ ") + "\n" for line in commands.splitlines() if line.startswith("$ "))
    script = script.replace("MCowBQYDK2VwAyEA...", encrypted.verify_key)
    for name in ("manifest.json", "manifest.json.sig"):
        (tmp_path / name).write_bytes((encrypted.agent.directory(encrypted.full) / name).read_bytes())
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().splitlines()[-1]) == (0, "Signature Verified Successfully")
    (tmp_path / "manifest.json").write_bytes((tmp_path / "manifest.json").read_bytes().replace(b"full", b"Full", 1))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0

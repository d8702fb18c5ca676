"""Keys that are missing, wrong or not trusted: told before anything is begun."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.age_keys import age_key
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent
from tests.faults.outcomes import refused
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backup_agent", "keys", "generate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Signed:
    """A signed full backup, and an unsigned one that is newer."""

    agent: ConfinedAgent
    signed: str
    unsigned: str
    verify_key: str

    def reader(self, signing: str) -> ConfinedAgent:
        """The same agent with another section [signing]."""
        text = self.agent.config_file.read_text().partition("[signing]")[0]
        self.agent.config_file.write_text(f"{text}[signing]\n{signing}\n")
        return self.agent


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory, shop: PrivateMariaDB) -> Signed:
    base = tmp_path_factory.mktemp("signed")
    made = generate("--out", base / "signing.key")
    assert made.returncode == 0
    verify_key = next(line.split()[1] for line in made.stdout.splitlines() if line.startswith("verify_key"))
    extra = {**SMALL_CHUNKS, "signing": {"key_file": str(base / "signing.key")}}
    agent = ConfinedAgent(base / "agent", shop, extra=extra)
    signed = agent.backup()["id"]
    agent.with_config("key_file", "#key_file")
    return Signed(agent, signed, agent.backup()["id"], verify_key)


def unreadable(agent: ConfinedAgent) -> dict[str, str]:
    return {one["id"]: one["error"] for one in agent.run("list", "--json").json["unreadable"]}


def test_a_generated_key_is_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    first, second = generate("--out", path), generate("--out", path)
    assert (first.returncode, second.returncode) == (0, 3)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "signing_key_unusable" in second.stderr
    assert "PRIVATE" not in first.stdout + first.stderr + second.stderr


def test_an_unsigned_backup_is_no_backup_where_signatures_are_required(backups: Signed, tmp_path: Path) -> None:
    agent = backups.reader(f'verify_keys = ["{backups.verify_key}"]\nrequired = true')
    assert list(unreadable(agent)) == [backups.unsigned]
    assert "is not signed" in unreadable(agent)[backups.unsigned]
    outcome = agent.run("restore", backups.unsigned, "--target-dir", tmp_path / "target")
    assert (outcome.status, outcome.error["code"]) == (9, "signature_missing")
    assert not (tmp_path / "target").exists()
    refused(agent.run("run-once", "--parent", backups.unsigned), "signature_missing", "integrity", "is not signed")
    refused(agent.run("run-once", "--incremental"), "signature_missing", "integrity", "is not signed")
    agent.restore(backups.signed, tmp_path / "target", "--no-prepare")


def test_a_backup_signed_by_somebody_else_is_refused_even_where_signatures_are_not_required(
    backups: Signed, tmp_path: Path
) -> None:
    generate("--out", tmp_path / "other.key")
    agent = backups.reader(f'key_file = "{tmp_path / "other.key"}"')
    assert list(unreadable(agent)) == [backups.signed]
    outcome = agent.run("show", backups.signed)
    assert (outcome.status, outcome.error["code"]) == (9, "signature_unknown_key")


def test_a_host_without_keys_looks_at_no_signature(backups: Signed) -> None:
    assert unreadable(backups.reader("")) == {}


@pytest.mark.parametrize("given", ["nothing there", "no key", "a directory"])
def test_without_its_signing_key_the_agent_does_not_begin(backups: Signed, tmp_path: Path, given: str) -> None:
    path = tmp_path / "signing.key"
    if given == "no key":
        path.write_text("no key")
    elif given == "a directory":
        path.mkdir()
    outcome = backups.reader(f'key_file = "{path}"').run("run-once")
    assert (outcome.status, outcome.error["code"]) == (3, "signing_key_unusable")
    assert str(path) in outcome.error["event"]


def test_a_typo_in_a_recipient_is_told_by_its_place(backups: Signed, tmp_path: Path) -> None:
    good, other = age_key(tmp_path / "good").recipient, age_key(tmp_path / "other").recipient
    wrong = other[:-1] + ("q" if other[-1] != "q" else "p")
    outcome = backups.reader(f'[encryption]\nrecipients = ["{good}", "{wrong}"]').run("run-once")
    assert (outcome.status, outcome.error["code"]) == (3, "config_invalid")
    assert "encryption.recipients: number 2: its checksum does not fit: a typo" in outcome.error["event"]


def test_an_identity_is_no_hindrance_to_a_backup_that_needs_none(backups: Signed, tmp_path: Path) -> None:
    identity = age_key(tmp_path / "identity").file
    backups.reader("").restore(backups.unsigned, tmp_path / "target", "--no-prepare", "--identity", str(identity))


def test_a_missing_file_of_identities_is_told_of_before_the_store_is_asked(backups: Signed, tmp_path: Path) -> None:
    outcome = backups.reader("").run(
        "restore", backups.unsigned, "--target-dir", tmp_path / "target", "--identity", tmp_path / "nowhere"
    )
    assert (outcome.status, outcome.error["code"]) == (4, "identity_unusable")
    assert not (tmp_path / "target").exists()

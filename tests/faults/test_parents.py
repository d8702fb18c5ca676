"""Parents that an incremental can't be built on. Each is refused before the database is even asked."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from backup_agent.domain.manifest import decode, encode
from tests.faults.agents import ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, shop: PrivateMariaDB) -> tuple[ConfinedAgent, str, str]:
    """An agent with a full backup and an incremental of it: not to be changed."""
    agent = ConfinedAgent(tmp_path_factory.mktemp("taken") / "agent", shop)
    return agent, agent.backup("--name", "base")["id"], agent.backup("--incremental")["id"]


class Family:
    """A copy of that store, and the agent of the same instance that uses it."""

    def __init__(self, base: Path, shop: PrivateMariaDB, taken: tuple[ConfinedAgent, str, str]) -> None:
        original, self.full, self.child = taken
        self.agent = ConfinedAgent(base, shop, instance_id=original.instance_id)
        shutil.copytree(original.store, self.agent.store)

    def manifest(self, backup_id: str) -> Path:
        return self.agent.directory(backup_id) / "manifest.json"

    def rename(self, backup_id: str) -> None:
        """Writes a valid manifest again, with another name and so with another digest."""
        path = self.manifest(backup_id)
        found = decode(path.read_bytes(), instance_id=self.agent.instance_id, backup_id=backup_id)
        path.write_bytes(encode(found.manifest.model_copy(update={"name": "another"})))


@pytest.fixture
def family(tmp_path: Path, shop: PrivateMariaDB, taken: tuple[ConfinedAgent, str, str]) -> Family:
    return Family(tmp_path / "agent", shop, taken)


def test_without_any_backup_there_is_no_parent_and_no_silent_full(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once", "--incremental")
        refused(outcome, "no_parent", "rejected", f"instance {agent.instance_id} has no completed backup")
    assert "full backup first" in outcome.error["hint"]
    assert agent.backup()["type"] == "full"
    assert agent.backup("--incremental")["type"] == "incremental"


def test_an_unknown_parent_is_not_found(family: Family) -> None:
    unknown = str(uuid.uuid4())
    with nothing_left_behind(family.agent):
        refused(family.agent.run("run-once", "--parent", unknown), "parent_not_found", "rejected", unknown)


def test_a_parent_without_a_manifest_has_not_completed(family: Family) -> None:
    family.manifest(family.child).unlink()
    with nothing_left_behind(family.agent):
        outcome = family.agent.run("run-once", "--parent", family.child)
        refused(outcome, "parent_not_completed", "rejected", family.child, "has no manifest")
    assert family.agent.backup("--incremental")["parent_id"] == family.full


def test_a_parent_of_another_instance_is_foreign(family: Family, tmp_path: Path, shop: PrivateMariaDB) -> None:
    other = ConfinedAgent(tmp_path / "other", shop, store_url=family.agent.store.as_uri())
    with nothing_left_behind(other), nothing_left_behind(family.agent):
        outcome = other.run("run-once", "--parent", family.full)
        refused(outcome, "parent_foreign", "rejected", family.full, f"instance {family.agent.instance_id}")


def test_a_parent_of_another_account_is_foreign(family: Family, tmp_path: Path, shop: PrivateMariaDB) -> None:
    other = ConfinedAgent(
        tmp_path / "other",
        shop,
        instance_id=family.agent.instance_id,
        store_url=family.agent.store.as_uri(),
        extra={"instance": {"account_id": "4321"}},
    )
    with nothing_left_behind(other), nothing_left_behind(family.agent):
        refused(other.run("run-once", "--parent", family.full), "parent_foreign", "rejected", "account 1234")
        refused(other.run("run-once", "--incremental"), "parent_foreign", "rejected", "account 1234")


@pytest.mark.parametrize("option", ["--parent", "--incremental"])
def test_a_flipped_byte_in_the_parents_manifest_is_noticed(family: Family, option: str) -> None:
    manifest = bytearray(family.manifest(family.child).read_bytes())
    manifest[len(manifest) // 2] ^= 0x01
    family.manifest(family.child).write_bytes(manifest)
    with nothing_left_behind(family.agent):
        options = (option, family.child) if option == "--parent" else (option,)
        refused(family.agent.run("run-once", *options), "manifest_corrupt", "integrity", family.child)
    listed = family.agent.run("list", "--json")
    assert listed.status == 9
    assert [backup["id"] for backup in listed.json["backups"]] == [family.full]
    assert [backup["id"] for backup in listed.json["unreadable"]] == [family.child]


def test_a_flipped_byte_in_an_ancestors_manifest_is_noticed(family: Family) -> None:
    manifest = bytearray(family.manifest(family.full).read_bytes())
    manifest[-10] ^= 0x01
    family.manifest(family.full).write_bytes(manifest)
    with nothing_left_behind(family.agent):
        outcome = family.agent.run("run-once", "--parent", family.child)
        refused(outcome, "manifest_corrupt", "integrity", family.full)


def test_an_ancestors_manifest_that_was_written_anew_breaks_the_chain(family: Family, tmp_path: Path) -> None:
    family.rename(family.full)
    with nothing_left_behind(family.agent):
        words = (family.child, family.full, "was changed since")
        refused(family.agent.run("run-once", "--parent", family.child), "parent_changed", "integrity", *words)
        refused(family.agent.run("run-once", "--incremental"), "parent_changed", "integrity", *words)
        restored = family.agent.run("restore", family.child, "--target-dir", tmp_path / "target")
        refused(restored, "parent_changed", "integrity", *words)
    assert not (tmp_path / "target").exists()
    shown = family.agent.run("show", family.child, "--json")
    assert (shown.status, shown.error["code"]) == (9, "parent_changed")
    assert shown.json["backup"]["id"] == family.child  # what can be told is told
    assert family.agent.backup("--parent", family.full)["type"] == "incremental"


def test_a_missing_ancestor_breaks_the_chain(family: Family) -> None:
    shutil.rmtree(family.agent.directory(family.full))
    with nothing_left_behind(family.agent):
        outcome = family.agent.run("run-once", "--parent", family.child)
        refused(outcome, "parent_changed", "integrity", f"backup {family.full}", "is not in the store")
    assert family.agent.backup()["type"] == "full"

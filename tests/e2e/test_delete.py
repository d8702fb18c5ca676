"""`backup-agent delete`: what goes, what stays, what is asked, and what is told."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGTERM

import pytest

from backup_agent.domain.process import ProcessId
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.operations.garbage_marker import Marker
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.traces import contents, lock_is_free
from tests.shelves import Shelf, outbox, stored, whole, write


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return write(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def agent(shelf: Shelf, tmp_path: Path) -> ConfinedAgent:
    return shelf.copy(tmp_path / "agent")


def test_a_backup_on_which_nothing_is_built_goes_without_a_question(agent: ConfinedAgent, shelf: Shelf) -> None:
    files = len(list(agent.directory(shelf.twin).iterdir()))
    outcome = agent.run("delete", shelf.twin, "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.json["deleted"]["backups"] == [shelf.twin]
    assert outcome.json["deleted"]["objects"] == files - 1, "all but the manifest"
    assert stored(agent) == (shelf.first_chain | shelf.second_chain) - {shelf.twin}
    assert outbox(agent) == [("backup.deleted", shelf.twin)]


def test_a_whole_chain_goes_the_deepest_first_and_the_others_stay_as_they_were(
    agent: ConfinedAgent, shelf: Shelf
) -> None:
    others = {one: contents(agent.directory(one)) for one in shelf.second_chain}
    outcome = agent.run("delete", shelf.base, "--cascade", "--json")
    assert outcome.status == 0, outcome.stderr
    gone = outcome.json["deleted"]["backups"]
    assert set(gone) == shelf.first_chain
    assert gone.index(shelf.grandchild) < gone.index(shelf.child)
    assert gone[-1] == shelf.base
    assert outbox(agent) == [("backup.deleted", backup_id) for backup_id in gone]
    assert stored(agent) == whole(agent) == shelf.second_chain
    assert {one: contents(agent.directory(one)) for one in shelf.second_chain} == others


def test_without_a_word_and_without_a_terminal_dependants_are_named_and_nothing_goes(
    agent: ConfinedAgent, shelf: Shelf
) -> None:
    before = contents(agent.store)
    outcome = agent.run("delete", shelf.child)
    refused(outcome, "backup_has_dependants", "rejected", shelf.grandchild)
    assert "--cascade" in outcome.error["hint"]
    assert contents(agent.store) == before
    assert outbox(agent) == []
    assert agent.run("delete", shelf.child, "--yes").status == 0
    assert stored(agent) == (shelf.first_chain | shelf.second_chain) - {shelf.child, shelf.grandchild}


def test_what_is_not_there_is_not_found_and_what_is_gone_is_not_there(agent: ConfinedAgent, shelf: Shelf) -> None:
    refused(agent.run("delete", str(uuid.uuid4())), "backup_not_found", "rejected")
    assert agent.run("delete", shelf.twin).status == 0
    refused(agent.run("delete", shelf.twin), "backup_not_found", "rejected", shelf.twin)
    refused(agent.run("delete", "../x"), "invalid_request", "rejected")


def test_an_id_may_be_cut_short_and_the_latest_named(agent: ConfinedAgent, shelf: Shelf) -> None:
    outcome = agent.run("delete", "latest", "--json")
    refused(outcome, "invalid_request", "rejected", "latest", shelf.others_child)
    assert "--yes" in outcome.error["hint"]
    assert agent.run("delete", "latest", "--yes", "--json").json["deleted"]["backups"] == [shelf.others_child]
    assert agent.run("delete", shelf.other[:13], "--json").json["deleted"]["backups"] == [shelf.other]


def test_the_chunks_of_a_backup_that_failed_can_be_deleted(agent: ConfinedAgent, shelf: Shelf) -> None:
    (agent.directory(shelf.twin) / "manifest.json").unlink()
    outcome = agent.run("delete", shelf.twin, "--json")
    assert outcome.status == 0, outcome.stderr
    assert shelf.twin not in stored(agent)


def test_a_backup_that_can_not_be_read_can_be_deleted(agent: ConfinedAgent, shelf: Shelf) -> None:
    (agent.directory(shelf.twin) / "manifest.json").write_bytes(b"{}")
    assert agent.run("delete", shelf.twin).status == 0
    assert shelf.twin not in stored(agent)


def test_what_somebody_else_put_there_stays_and_is_told_of(agent: ConfinedAgent, shelf: Shelf) -> None:
    note = agent.directory(shelf.twin) / "note.txt"
    note.write_text("mine")
    outcome = agent.run("delete", shelf.twin)
    assert outcome.status == 0
    assert outcome.events("objects that are not ours stay")
    assert [path.name for path in agent.directory(shelf.twin).iterdir()] == [note.name]


def test_all_that_lies_beside_a_backup_goes_with_it(agent: ConfinedAgent, shelf: Shelf) -> None:
    directory = agent.directory(shelf.twin)
    (directory / "verify").mkdir()
    for name in ("manifest.json.sig", "verify/20261125T120000Z.json", "attempt-00000001.json"):
        (directory / name).write_text("{}")
    assert agent.run("delete", shelf.twin).status == 0
    assert not directory.exists()


@pytest.mark.parametrize("pinned", ["base", "grandchild"])
def test_a_chain_with_a_pin_in_it_stays_until_that_is_taken_away(
    agent: ConfinedAgent, shelf: Shelf, pinned: str
) -> None:
    backup_id = getattr(shelf, pinned)
    assert agent.run("pin", backup_id, "--note", "for the auditors").status == 0
    refused(agent.run("delete", shelf.base, "--cascade"), "backup_pinned", "rejected", backup_id, "for the auditors")
    assert stored(agent) == shelf.first_chain | shelf.second_chain
    assert agent.run("unpin", backup_id).status == 0
    assert agent.run("delete", shelf.base, "--cascade").status == 0
    assert stored(agent) == shelf.second_chain


@pytest.mark.parametrize(
    ("command", "at_work", "code", "kind"),
    [
        ("restore", "grandchild", "backup_in_use", "busy"),
        ("verify", "base", "backup_in_use", "busy"),
        ("restore", "others_child", "instance_busy", "busy"),
        ("recovery", None, "instance_busy", "busy"),
    ],
)
def test_nothing_is_deleted_while_somebody_has_the_instance(
    agent: ConfinedAgent, shelf: Shelf, command: str, at_work: str | None, code: str, kind: str
) -> None:
    backup_id = None if at_work is None else getattr(shelf, at_work)
    agent.run("list")
    with InstanceLock(agent.runtime_dir, agent.instance_id).acquire(
        LockHolder.here(command, backup_id, datetime.now(UTC))
    ):
        refused(agent.run("delete", shelf.base, "--cascade"), code, kind)
    assert stored(agent) == shelf.first_chain | shelf.second_chain


def test_an_attempt_on_another_host_is_let_live(agent: ConfinedAgent, shelf: Shelf) -> None:
    directory = agent.directory(shelf.twin)
    (directory / "manifest.json").unlink()
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
    elsewhere = Marker(host="elsewhere", namespace="x", process=ProcessId(pid=1, started="x/1"), beat=now)
    sign = directory / "attempt-00000003.json"
    sign.write_text(elsewhere.model_dump_json())
    refused(agent.run("delete", shelf.twin), "backup_in_use", "busy", "elsewhere")
    sign.write_text(elsewhere.model_copy(update={"beat": "2020-01-01T00:00:00.000Z"}).model_dump_json())
    assert agent.run("delete", shelf.twin).status == 0


def test_interrupted_it_is_finished_by_the_same_command(shelf: Shelf, tmp_path: Path) -> None:
    agent = shelf.copy(tmp_path / "agent")
    with Running(agent, "delete", shelf.base, "--cascade") as running:
        running.await_word("a backup is deleted")
        running.send(SIGTERM)
        running.end()
    assert lock_is_free(agent)
    again = agent.run("delete", shelf.base, "--cascade", "--json")
    assert again.status in (0, 4), again.stderr  # 4: the signal came too late
    assert stored(agent) == shelf.second_chain
    kinds = [json.dumps(event) for event in outbox(agent)]
    assert len(kinds) == len(set(kinds)) == len(shelf.first_chain)

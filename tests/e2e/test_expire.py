"""`backup-agent expire` and `pin`: what goes, what stays, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backup_agent.domain import manifest
from tests.faults.agents import ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.terminals import Terminal
from tests.faults.traces import contents
from tests.faults.waiting import until
from tests.shelves import REMEMBERING, Shelf, outbox, stored, whole, write


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return write(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def agent(shelf: Shelf, tmp_path: Path) -> ConfinedAgent:
    return shelf.copy(tmp_path / "agent")


def verdicts(printed: str) -> dict[str, bool]:
    """Whether each backup is kept."""
    return {one["id"]: one["kept"] for one in json.loads(printed)["expired"]["backups"]}


def finished(agent: ConfinedAgent, backup_id: str, when: str) -> None:
    """Lets a backup on which nothing is built have finished at another time."""
    path = agent.directory(backup_id) / "manifest.json"
    found = manifest.decode(path.read_bytes(), instance_id=agent.instance_id, backup_id=backup_id).manifest
    path.write_bytes(manifest.encode(found.model_copy(update={"finished": when})))


def test_the_oldest_chain_goes_whole_and_the_newest_stays_as_it_was(agent: ConfinedAgent, shelf: Shelf) -> None:
    newest = {one: contents(agent.directory(one)) for one in shelf.second_chain}
    dry = agent.run("expire", "--keep-fulls", "1", "--dry-run", "--json")
    assert stored(agent) == shelf.first_chain | shelf.second_chain
    assert dry.json["expired"]["deleted"] is None
    done = agent.run("expire", "--keep-fulls", "1", "--yes", "--json")
    assert done.status == 0, done.stderr
    assert verdicts(dry.stdout) == verdicts(done.stdout)
    assert verdicts(done.stdout) == {
        **dict.fromkeys(shelf.first_chain, False),
        **dict.fromkeys(shelf.second_chain, True),
    }
    assert set(done.json["expired"]["deleted"]["backups"]) == shelf.first_chain
    assert stored(agent) == whole(agent) == shelf.second_chain
    assert sorted(outbox(agent)) == sorted(("backup.deleted", one) for one in shelf.first_chain)
    assert {one: contents(agent.directory(one)) for one in shelf.second_chain} == newest
    again = agent.run("expire", "--keep-fulls", "1", "--yes", "--json")
    assert again.json["expired"]["deleted"]["backups"] == []


def test_a_pinned_backup_stays_with_its_chain_and_is_shown(agent: ConfinedAgent, shelf: Shelf) -> None:
    assert agent.run("pin", shelf.child, "--note", "before the upgrade").status == 0
    shown = agent.run("show", shelf.child, "--json").json["backup"]
    assert shown["pin"]["note"] == "before the upgrade"
    pinned = {one["id"] for one in agent.run("list", "--json").json["backups"] if one["pinned"]}
    assert pinned == {shelf.child}
    assert "pinned" in agent.run("list").stdout
    done = agent.run("expire", "--keep-fulls", "1", "--yes", "--json")
    assert set(done.json["expired"]["deleted"]["backups"]) == {shelf.grandchild, shelf.twin}
    assert stored(agent) == shelf.second_chain | {shelf.base, shelf.child}
    assert agent.run("unpin", shelf.child, "--json").json["backup"]["was_pinned"]
    assert agent.run("list", "--json").json["backups"][0]["pinned"] is False


def test_a_pin_can_be_given_another_note_and_a_bad_one_is_refused(agent: ConfinedAgent, shelf: Shelf) -> None:
    agent.run("pin", shelf.twin)
    agent.run("pin", shelf.twin, "--note", "second")
    assert agent.run("show", shelf.twin, "--json").json["backup"]["pin"]["note"] == "second"
    refused(agent.run("pin", shelf.twin, "--note", "two\nlines"), "invalid_request", "rejected", "--note")


def test_the_rules_may_stand_in_the_configuration(shelf: Shelf, tmp_path: Path) -> None:
    agent = shelf.copy(tmp_path / "agent", {**REMEMBERING, "retention": {"keep_fulls": 1}})
    assert set(verdicts(agent.run("expire", "--dry-run", "--json").stdout).values()) == {True, False}
    assert set(verdicts(agent.run("expire", "--keep-days", "9999", "--dry-run", "--json").stdout).values()) == {True}


def test_without_rules_or_without_a_yes_nothing_goes(agent: ConfinedAgent) -> None:
    before = contents(agent.store)
    refused(agent.run("expire", "--yes"), "invalid_request", "rejected", "no rule")
    outcome = agent.run("expire", "--keep-fulls", "1", "--json")
    refused(outcome, "invalid_request", "rejected", "4 backups")
    assert "--yes" in outcome.error["hint"]
    assert contents(agent.store) == before


def test_what_can_not_be_read_stays_and_if_nothing_can_be_nothing_goes(agent: ConfinedAgent, shelf: Shelf) -> None:
    broken = agent.directory(shelf.twin) / "manifest.json"
    whole = broken.read_bytes()
    broken.write_bytes(whole.replace(b"twin", b"tw1n"))
    dry = agent.run("expire", "--keep-fulls", "1", "--dry-run", "--json")
    assert verdicts(dry.stdout)[shelf.twin]
    for backup_id in shelf.first_chain | shelf.second_chain:
        (agent.directory(backup_id) / "manifest.json").write_bytes(b"{}")
    done = agent.run("expire", "--keep-fulls", "1", "--yes", "--json")
    assert done.status == 0, done.stderr
    assert stored(agent) == shelf.first_chain | shelf.second_chain


def test_a_backup_of_a_newer_program_keeps_all_others(agent: ConfinedAgent, shelf: Shelf) -> None:
    path = agent.directory(shelf.others_child) / "manifest.json"
    document = json.loads(path.read_bytes())
    document["payload"]["format"] = 99
    payload = manifest._canonical(document["payload"])  # noqa: SLF001 - as a newer program would write it
    document["sha256"] = manifest.seal(payload)
    path.write_bytes(manifest._canonical(document))  # noqa: SLF001
    for arguments in (("expire", "--keep-fulls", "1", "--yes"), ("delete", shelf.base, "--cascade")):
        refused(agent.run(*arguments), "manifest_format", "integrity", shelf.others_child)
    assert stored(agent) == shelf.first_chain | shelf.second_chain


def test_a_backup_from_the_future_drives_no_other_out(agent: ConfinedAgent, shelf: Shelf) -> None:
    finished(agent, shelf.twin, "2099-01-01T00:00:00.000Z")
    found = verdicts(agent.run("expire", "--keep-fulls", "1", "--dry-run", "--json").stdout)
    assert {backup_id for backup_id, kept in found.items() if kept} == shelf.second_chain | {shelf.twin, shelf.base}


def test_a_person_is_shown_what_goes_and_why_and_is_asked(agent: ConfinedAgent, shelf: Shelf) -> None:
    with Terminal(agent, "expire", "--keep-fulls", "1", columns=300) as terminal:
        until(lambda: "Delete 4 backups? [y/N]" in terminal.text or terminal.ended, "the question")
        assert "EXPIRES  no rule keeps it" in terminal.text
        assert "kept     it is the newest restorable backup" in terminal.text
        terminal.type(b"n\n")
        assert terminal.end() == 11
    assert stored(agent) == shelf.first_chain | shelf.second_chain
    with Terminal(agent, "delete", shelf.base[:8], columns=300) as terminal:
        until(lambda: "Delete these 4 backups? [y/N]" in terminal.text or terminal.ended, "the question")
        terminal.type(b"y\n")
        assert terminal.end() == 0
    assert stored(agent) == shelf.second_chain


@pytest.mark.parametrize(("answer", "status", "gone"), [(b"\n", 11, False), (b"y\n", 0, True)])
def test_a_person_is_asked_also_for_a_backup_on_which_nothing_is_built(
    agent: ConfinedAgent, shelf: Shelf, answer: bytes, status: int, *, gone: bool
) -> None:
    with Terminal(agent, "delete", "latest", columns=300) as terminal:
        until(lambda: "Delete this backup? [y/N]" in terminal.text or terminal.ended, "the question")
        assert shelf.others_child in terminal.text
        terminal.type(answer)
        assert terminal.end() == status
    assert (shelf.others_child not in stored(agent)) == gone


def test_a_question_is_ended_by_ctrl_c(agent: ConfinedAgent, shelf: Shelf) -> None:
    with Terminal(agent, "delete", shelf.base) as terminal:
        until(lambda: "[y/N]" in terminal.text or terminal.ended, "the question")
        terminal.type(b"\x03")
        assert terminal.end() == 130
    assert stored(agent) == shelf.first_chain | shelf.second_chain

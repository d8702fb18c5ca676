"""What `verify` says of good backups and of bad ones, and where it is shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from backup_agent.domain.recipient import fingerprint
from backup_agent.domain.verification import Level, Outcome
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.stream.identity import Identity
from tests.e2e.in_process import take_backups, verify_here
from tests.e2e.verifiable import BROKEN, Verifiable, results, settings, verifiable, wrapper
from tests.faults.agents import ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.traces import contents

pytestmark = pytest.mark.server

BOTH = pytest.mark.parametrize("level", list(Level))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifiable]:
    with verifiable(tmp_path_factory.mktemp("verifiable")) as made:
        yield made


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def chunk(agent: ConfinedAgent, backup_id: str) -> Path:
    return min(agent.directory(backup_id).glob("chunk-*"))


def test_a_served_backup_is_told_of_with_figures_and_shown(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    before = contents(agent.store)
    done = agent.run("verify", made.good, "--level", "restore", "--json")
    assert done.status == 0, done.stderr
    (told,) = done.json["verifications"]
    assert (told["result"], told["level"], told["faults"], told["unchecked"]) == ("passed", "restore", [], [])
    assert (told["backup_id"], told["chain"]) == (made.good, [made.full, made.good])
    assert told["server_version"].startswith(told["engine_version"].split("-", maxsplit=1)[0])
    assert told["tables"] > 30
    assert told["table_bytes"] > 100_000
    seconds = told["seconds"]
    assert seconds["to_serve"] == pytest.approx(seconds["fetch"] + seconds["prepare"] + seconds["start"], abs=0.01)
    assert seconds["check"] > 0
    (kept,) = results(agent, made.good)
    assert list(new_in(agent, before)) == [str(kept.relative_to(agent.store))]

    listed = {one["id"]: one for one in agent.run("list", "--json").json["backups"]}
    assert listed[made.good]["verified_at"] == told["time"][:19]
    assert listed[made.good]["verification"]["seconds"] == seconds
    assert (listed[made.full]["verified_at"], listed[made.full]["verification"]) == (None, None)
    shown = agent.run("show", made.good, "--json").json["backup"]
    assert (shown["verified_at"], shown["verification"]["result"]) == (told["time"][:19], "passed")
    assert list((made.scratch / f"verify-{agent.instance_id}").iterdir()) == []

    assert agent.run("verify", made.good).status == 0
    assert re.search(rf" digest \d{{4}}-\d\d-\d\d, restore {told['time'][:10]} ", agent.run("list").stdout)


def new_in(agent: ConfinedAgent, before: dict[str, str]) -> dict[str, str]:
    """What is new in the store; all else must be as it was."""
    now = contents(agent.store)
    assert {path: now.get(path) for path in before} == before
    return {path: digest for path, digest in now.items() if path not in before}


def test_digests_are_compared_without_a_server_or_a_disk(made: Verifiable, tmp_path: Path) -> None:
    nowhere = {"scratch_dir": "/proc/nowhere", "server_binary": "no-such-server"}
    agent = made.copy(tmp_path / "agent", {"verify": nowhere, "engine": {"binary": "no-such-engine"}})
    (found,) = verify_here(agent, made.good, Level.DIGEST)
    assert (found.passed, found.chain) == (True, (made.full, made.good))
    manifests = [json.loads((agent.directory(one) / "manifest.json").read_bytes()) for one in found.chain]
    raw = [manifest["payload"]["totals"]["raw_size"] for manifest in manifests]
    assert (found.figures.raw_bytes, found.figures.tables) == (sum(raw), None)


def test_broken_tables_fail_a_backup_and_are_named(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    assert verify_here(agent, made.broken, Level.DIGEST)[0].passed, "its bytes are as they were backed up"
    done = agent.run("verify", made.broken, "--level", "restore", "--json")
    assert (done.status, done.error["code"]) == (14, "verification_failed")
    assert f"table {BROKEN[0]}: " in done.error["event"]
    (told,) = done.json["verifications"]
    assert told["result"] == "failed"
    assert [fault["code"] for fault in told["faults"]] == ["table_corrupt"] * 2
    assert [fault["message"].split()[1] for fault in told["faults"]] == [f"{name}:" for name in BROKEN]
    assert f"FAILED {told['time'][:10]}" in agent.run("list").stdout


def test_each_backup_of_a_chain_gets_a_result_of_its_own(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    found = verify_here(agent, made.broken, Level.RESTORE, each=True)
    assert [one.backup_id for one in found] == made.chain
    assert [one.result for one in found] == [Outcome.PASSED, Outcome.PASSED, Outcome.FAILED]
    assert [len(results(agent, one)) for one in made.chain] == [1, 1, 1]


@BOTH
def test_a_changed_chunk_fails_every_backup_that_needs_it(made: Verifiable, tmp_path: Path, level: Level) -> None:
    agent = made.copy(tmp_path / "agent")
    flip(chunk(agent, made.good))
    found = verify_here(agent, made.broken, level, each=True)
    assert [one.result for one in found] == [Outcome.PASSED, Outcome.FAILED, Outcome.FAILED]
    assert [[fault.code for fault in one.faults] for one in found] == [[], ["chunk_corrupt"], ["chunk_corrupt"]]
    assert [len(results(agent, one)) for one in made.chain] == [1, 1, 1]


@BOTH
def test_a_missing_chunk_fails_a_backup(made: Verifiable, tmp_path: Path, level: Level) -> None:
    agent = made.copy(tmp_path / "agent")
    chunk(agent, made.full).unlink()
    (found,) = verify_here(agent, made.good, level)
    assert (found.result, [fault.code for fault in found.faults]) == (Outcome.FAILED, ["chunk_missing"])


def test_a_broken_chain_fails_a_backup(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    (agent.directory(made.full) / "manifest.json").unlink()
    (found,) = verify_here(agent, made.good, Level.DIGEST)
    assert (found.result, [fault.code for fault in found.faults], found.chain) == (
        Outcome.FAILED,
        ["parent_changed"],
        (),
    )
    assert len(results(agent, made.good)) == 1


def test_a_later_success_is_shown_instead_of_an_earlier_failure(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    path = chunk(agent, made.full)
    flip(path)
    assert not verify_here(agent, made.full, Level.DIGEST)[0].passed
    failed = agent.run("show", made.full, "--json").json["backup"]
    assert (failed["verified_at"], failed["verification"]["result"]) == (None, "failed")
    flip(path)
    assert verify_here(agent, made.full, Level.DIGEST)[0].passed
    assert agent.run("show", made.full, "--json").json["backup"]["verification"]["result"] == "passed"


def test_a_result_that_was_changed_is_left_out(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    verify_here(agent, made.full, Level.DIGEST)
    flip(results(agent, made.full)[0])
    shown = agent.run("show", made.full, "--json")
    assert shown.json["backup"]["verification"] is None
    assert [line["code"] for line in shown.log] == ["verification_corrupt"]


def test_the_private_server_is_closed_unprivileged_and_polite(made: Verifiable, tmp_path: Path) -> None:
    seen = made.scratch / "seen"
    seen.mkdir(exist_ok=True)
    seen.chmod(0o777)
    noting = [f'{{ id -u; nice; echo "$@"; }} > {seen}/private-server']
    server = wrapper(made.scratch / "noting-server", noting)
    agent = made.copy(tmp_path / "agent", {"verify": {"server_binary": str(server), "nice": 13}})
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert verify_here(agent, made.full, Level.RESTORE)[0].passed
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours, "who verifies is as before"
    user, niceness, argv = (seen / "private-server").read_text().splitlines()
    assert int(user) != 0
    assert int(niceness) == max(13, ours)
    for option in ("--no-defaults", "--skip-networking", "--skip-log-bin", "--skip-slave-start", "--event-scheduler"):
        assert option in argv
    assert "--innodb-buffer-pool-size=16777216" in argv


def test_a_scratch_directory_may_have_a_long_path(made: Verifiable, tmp_path: Path) -> None:
    long = made.scratch / ("a-long-name-" * 10)
    agent = made.copy(tmp_path / "agent", {"verify": {"scratch_dir": str(long)}})
    assert verify_here(agent, made.full, Level.RESTORE)[0].passed


@pytest.fixture(scope="module")
def identity() -> Identity:
    key = pyrage.x25519.Identity.generate()
    return Identity(fingerprint(str(key.to_public())), key)


@pytest.fixture(scope="module")
def encrypted(
    made: Verifiable, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ConfinedAgent, str]:
    recipients = {"recipients": [str(identity.key.to_public())]}
    base = tmp_path_factory.mktemp("encrypted")
    agent = ConfinedAgent(base / "agent", made.server, extra={**settings(made.scratch), "encryption": recipients})
    backups = take_backups(agent)
    backup_id = next(backups)["id"]
    backups.close()
    return agent, backup_id


def test_without_an_identity_the_stored_digests_alone_are_compared_and_that_is_said(
    encrypted: tuple[ConfinedAgent, str],
) -> None:
    agent, backup_id = encrypted
    done = agent.run("verify", backup_id, "--json")
    assert done.status == 0, done.stderr
    assert [line["event"] for line in done.log if line["level"] == "warning"] == [
        "the chunks are as they were stored; without an identity, nothing more can be said of them"
    ]
    (told,) = done.json["verifications"]
    assert (told["raw_bytes"], told["result"]) == (None, "passed")
    with pytest.raises(RejectedError) as refusal:
        verify_here(agent, backup_id, Level.RESTORE)
    assert refusal.value.code is ErrorCode.IDENTITY_MISSING


@BOTH
def test_with_its_identity_an_encrypted_backup_is_verified_whole(
    encrypted: tuple[ConfinedAgent, str], identity: Identity, level: Level
) -> None:
    agent, backup_id = encrypted
    (found,) = verify_here(agent, backup_id, level, identities=(identity,))
    assert found.passed
    assert found.figures.raw_bytes is not None


def test_an_unknown_backup_is_refused(made: Verifiable) -> None:
    refused(made.agent.run("verify", "61f12fef-edb1-4561-8122-e7c00ef26a82"), "backup_not_found", "rejected")

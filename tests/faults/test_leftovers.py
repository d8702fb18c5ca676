"""What a clean-up could not remove is remembered, and removed by the next backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.agents import ConfinedAgent, Running, without_powers
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


def test_objects_that_the_store_did_not_let_go_are_removed_by_the_next_backup(
    agent: ConfinedAgent, shop: PrivateMariaDB
) -> None:
    agent.prefix = without_powers()
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(lambda: len(agent.stored_files()) > 2, "chunks in the store")
        directory = (agent.store / agent.stored_files()[0]).parent
        directory.chmod(0o500)  # what is to be put there from now on fails the backup
        release()
        outcome = running.end()
    refused(outcome, "store_denied", "store")
    (remain,) = outcome.events("objects of the failed backup remain")
    assert directory.name in remain["prefix"]
    assert "before the next backup" in remain["hint"]
    assert agent.stored_files()

    still = agent.run("run-once", "--json")
    assert still.status == 0
    assert still.events("objects of a failed backup still remain")
    directory.chmod(0o700)
    taken = [still.json["backup"]["id"], agent.backup()["id"]]
    assert {Path(name).parent.name for name in agent.stored_files()} == set(taken)

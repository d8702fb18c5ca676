"""What the operator allows to be write-locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent import Outcome
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


def with_policy(base: Path, shop: PrivateMariaDB, policy: str, threshold_mib: int) -> ConfinedAgent:
    instance = {"nontransactional": policy, "nontransactional_threshold_mib": threshold_mib}
    return ConfinedAgent(base, shop, extra={**SMALL_CHUNKS, "instance": instance})


def warnings_of(outcome: Outcome) -> list[str]:
    return [line["notice"] for line in outcome.events("backup.warning")]


def test_allowed_tables_are_not_spoken_of(tmp_path: Path, shop: PrivateMariaDB) -> None:
    outcome = with_policy(tmp_path / "agent", shop, "allow", 0).run("run-once", "--json")
    assert (outcome.status, warnings_of(outcome)) == (0, [])


def test_a_warning_says_how_much_will_be_write_locked(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = with_policy(tmp_path / "agent", shop, "warn", 0)
    outcome = agent.run("run-once", "--json")
    assert outcome.status == 0
    size = agent.run("show", outcome.json["backup"]["id"], "--json").json["backup"]["nontransactional_bytes"]
    assert size > 1_000_000
    what = "non-transactional tables (MyISAM, Aria, CSV)"
    assert warnings_of(outcome) == [f"{size / (1 << 20):.0f} MiB of {what} are write-locked while they are copied"]
    (warning,) = outcome.events("backup.warning")
    assert warning["level"] == "warning"
    assert outcome.log.index(warning) < outcome.log.index(outcome.events("backup.started")[0])


@pytest.mark.parametrize("policy", ["warn", "refuse"])
def test_below_the_threshold_nothing_is_said(tmp_path: Path, shop: PrivateMariaDB, policy: str) -> None:
    outcome = with_policy(tmp_path / "agent", shop, policy, 1000).run("run-once")
    assert (outcome.status, warnings_of(outcome)) == (0, [])


def test_refused_tables_are_not_locked_at_all(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = with_policy(tmp_path / "agent", shop, "refuse", 1)
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once")
        refused(outcome, "nontransactional_refused", "rejected", "MiB of non-transactional tables")
        assert "Convert the tables to InnoDB" in outcome.error["hint"]
        assert not outcome.events("backup.started")
        check = agent.run("config", "check")
        assert check.status == 4
        assert "FAILED  policy" in check.stdout

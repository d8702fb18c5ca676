"""The script of docs/scripts.md tells what may pass from what may not, and takes a full backup where it has to."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.agent import SECONDS, Outcome
from tests.faults.agents import ConfinedAgent
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

DOCUMENT = Path(__file__).parents[2] / "docs" / "scripts.md"
CALL = "backup-agent run-once"


def run_script(agent: ConfinedAgent) -> Outcome:
    """The documented script, which calls this test's agent."""
    (script,) = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert CALL in script
    done = subprocess.run(
        ["sh", "-c", script.replace(CALL, shlex.join(agent.argv("run-once")))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        text=True,
        env={**os.environ, **agent.environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_it_takes_a_full_first_and_incrementals_then(agent: ConfinedAgent) -> None:
    first, second = run_script(agent), run_script(agent)
    assert [(one.status, one.json["backup"]["type"]) for one in (first, second)] == [(0, "full"), (0, "incremental")]


def test_what_may_pass_has_a_status_of_its_own(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    agent.with_config(json.dumps(str(shop.socket)), '"/nowhere/socket"')
    outcome = run_script(agent)
    assert (outcome.status, outcome.error["code"]) == (75, "database_unreachable")


def test_what_does_not_pass_keeps_its_status(agent: ConfinedAgent) -> None:
    agent.with_config("[stream]", "[stream]\nchunk_size = 3")
    outcome = run_script(agent)
    assert (outcome.status, outcome.error["code"]) == (3, "config_invalid")

"""Ctrl-C, SIGTERM and SIGHUP at many moments: the engine is dead, the locks are free, and the chunks are gone."""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals
from typing import Any

import pytest

from backup_agent.storage.s3 import S3Store
from tests.agent import SECONDS, Outcome
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.stalls import notes_are_written
from tests.faults.traces import contents, nothing_left_behind, processes, writers_are_free
from tests.faults.waiting import until
from tests.servers.faultproxy import Exchange, FaultProxy, answered, passed
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

SIGNALS = (SIGINT, SIGTERM, SIGHUP)
CHANCE = random.Random(20)
DELAYS = [round(CHANCE.uniform(0, 2.0), 2) for _ in range(6)]
"""Seconds: from before the program has looked at its configuration to after its end."""


def interrupted(outcome: Outcome, number: Signals) -> None:
    assert outcome.status == 128 + number, outcome.stderr
    assert outcome.error["code"] == "interrupted"
    assert outcome.error["event"] == f"interrupted by {number.name}"
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_writers_wait_frees_them_and_the_store(
    agent: ConfinedAgent, shop: PrivateMariaDB, number: Signals
) -> None:
    kept = agent.backup()["id"]
    with nothing_left_behind(agent, shop), notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(lambda: len(agent.stored_files()) >= 4, "chunks in the store")
        running.send(number)
        outcome = running.end()
        interrupted(outcome, number)
        assert [line["error"]["code"] for line in outcome.events("backup.failed")] == ["interrupted"]
        assert processes(agent) == []
        release()
    assert agent.backup("--incremental")["parent_id"] == kept


MOMENTS: dict[str, Callable[[ConfinedAgent, Running], bool]] = {
    "when the lock is taken": lambda agent, _: bool(list(agent.runtime_dir.glob("*.lock"))),
    "when it is admitted": lambda _, running: running.said("backup admitted"),
    "when the engine has its directory": lambda agent, _: bool(list(agent.runtime_dir.glob("*.work"))),
    "when it copies": lambda _, running: running.said("backup.progress", phase="copying"),
    "when a file is in the store": lambda agent, _: bool(agent.store.exists() and agent.stored_files()),
    "when writers wait": lambda _, running: running.said("backup.progress", phase="blocking"),
    "when it finishes": lambda _, running: running.said("backup.progress", phase="finishing"),
}


def ended_by(running: Running, agent: ConfinedAgent, number: Signals) -> None:
    """Either the signal ended it, or it came when all was done: then the backup is there."""
    outcome = running.end()
    if outcome.status == 0:
        assert outcome.events("backup.completed")
        for name in [name for name in agent.stored_files() if "chunk-" in name or "manifest" in name]:
            (agent.store / name).unlink()
    else:
        assert outcome.status == 128 + number, outcome.stderr
        assert "backup.completed" not in outcome.stderr  # which may be Python's, before there is a log


@pytest.mark.parametrize(("moment", "number"), list(zip(MOMENTS, cycle(SIGNALS), strict=False)))
def test_a_signal_at_a_known_moment_leaves_nothing_or_a_backup(
    agent: ConfinedAgent, shop: PrivateMariaDB, moment: str, number: Signals
) -> None:
    with nothing_left_behind(agent, shop), Running(agent, "run-once") as running:
        until(lambda: running.ended or MOMENTS[moment](agent, running), moment)
        running.send(number)
        ended_by(running, agent, number)


@pytest.mark.parametrize("delay", DELAYS)
def test_a_signal_at_any_moment_leaves_nothing_or_a_backup(
    agent: ConfinedAgent, shop: PrivateMariaDB, delay: float
) -> None:
    number = SIGNALS[DELAYS.index(delay) % 3]
    with nothing_left_behind(agent, shop), Running(agent, "run-once") as running:
        time.sleep(delay)  # the moment is the point
        running.send(number)
        ended_by(running, agent, number)


def test_a_signal_that_was_ignored_from_the_start_stays_so(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    """As nohup has it: the terminal may be closed while the backup runs."""
    agent.prefix = ["nohup"]
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        running.send(SIGHUP)
        release()
        outcome = running.end()
    assert outcome.status == 0
    assert outcome.events("backup.completed")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def test_a_second_signal_cuts_the_clean_up_short(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server) -> None:
    """A store that refuses to delete keeps the first one waiting for longer than this test would."""

    def no_deletes(exchange: Exchange) -> None:
        (answered(503, "SlowDown") if exchange.command == "DELETE" and refusing else passed())(exchange)

    refusing = False
    bucket = s3.new_bucket()
    with FaultProxy(s3.port) as proxy:
        proxy.otherwise = no_deletes
        store: dict[str, Any] = {
            "retry_for_s": 10 * SECONDS,
            "s3": {
                "endpoint_url": proxy.url,
                "region": "us-east-1",
                "access_key_id": "key-id",
                "secret_access_key": "secret-key",
            },
        }
        extra = {**SMALL_CHUNKS, "store": store}
        agent = ConfinedAgent(tmp_path / "agent", shop, store_url=f"s3://{bucket}", extra=extra)
        objects = S3Store(bucket, "", create=False, options=s3.options())
        with nothing_left_behind(agent, shop), notes_are_written(shop) as release:
            with Running(agent, "run-once") as running:
                running.await_word("backup.progress", phase="blocking")
                until(lambda: list(objects.list("")), "an object in the store")
                refusing = True
                running.send(SIGTERM)
                until(lambda: any(request.startswith("DELETE") for request in proxy.requests[-3:]), "the clean-up")
                running.send(SIGTERM)
                outcome = running.end()
            release()
    assert (outcome.status, outcome.error["code"]) == (143, "interrupted")
    assert outcome.events("objects of the failed backup remain")


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, shop: PrivateMariaDB) -> tuple[ConfinedAgent, str]:
    """An agent and its incremental of a full backup: not to be changed."""
    agent = ConfinedAgent(tmp_path_factory.mktemp("taken") / "agent", shop)
    agent.backup()
    return agent, agent.backup("--incremental")["id"]


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("extracting link 1", SIGINT),
        ("preparing link 1", SIGTERM),
        ("extracting link 2", SIGHUP),
        ("preparing link 2", SIGINT),
    ],
)
def test_a_signal_during_a_restore_leaves_an_empty_directory_or_a_whole_one(
    taken: tuple[ConfinedAgent, str], tmp_path: Path, step: str, number: Signals
) -> None:
    agent, backup_id = taken
    target = tmp_path / "target"
    with nothing_left_behind(agent), Running(agent, "restore", backup_id, "--target-dir", target) as running:
        until(lambda: running.ended or any(line.get("step", "").startswith(step) for line in running.log), step)
        running.send(number)
        outcome = running.end()
    if outcome.status == 0:
        assert (target / "ib_logfile0").exists()
    else:
        interrupted(outcome, number)
        assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "program", "text"),
    [
        ("stream_binary", "mbstream", 'head -c 5000000 | mbstream "$@"; touch "$REACHED"; exec sleep 600'),
        ("binary", "mariadb-backup", 'touch "$REACHED"; exec sleep 600'),
    ],
)
def test_a_signal_while_a_restore_waits_leaves_an_empty_directory(
    taken: tuple[ConfinedAgent, str], tmp_path: Path, shop: PrivateMariaDB, key: str, program: str, text: str
) -> None:
    original, backup_id = taken
    reached, script = tmp_path / "reached", tmp_path / f"waiting-{program}"
    version = f'case "$1" in --version) exec {program} --version;; esac'
    script.write_text(f"#!/bin/sh\nREACHED={shlex.quote(str(reached))}\n{version}\n{text}\n")
    script.chmod(0o755)
    agent = ConfinedAgent(
        tmp_path / "agent",
        shop,
        instance_id=original.instance_id,
        store_url=original.store.as_uri(),
        extra={**SMALL_CHUNKS, "engine": {key: str(script)}},
    )
    target = tmp_path / "target"
    with nothing_left_behind(agent), Running(agent, "restore", backup_id, "--target-dir", target) as running:
        until(reached.exists, "the wait")
        assert contents(target)
        running.send(SIGINT)
        interrupted(running.end(), SIGINT)
    assert list(target.iterdir()) == []
    assert writers_are_free(shop)

"""Engines that are missing, of another version, or that lie about their success."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.fakes import engine as fake
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind, processes
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

REAL = 'case "$1" in --version) exec mariadb-backup --version;; esac\n'


class Engines:
    """Engines made for one test, and agents that use them."""

    def __init__(self, base: Path, shop: PrivateMariaDB) -> None:
        self._base = base
        self._shop = shop

    def script(self, text: str, mode: int = 0o755) -> Path:
        path = self._base / "mariadb-backup"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(mode)
        return path

    def fake(self, behaviour: str, version: str | None = None) -> Path:
        """Of the server's version unless another is given."""
        said = version or str(self._shop.query("SELECT VERSION()")[0][0])
        return self.script(f'exec {shlex.join([sys.executable, fake.__file__, said, behaviour])} "$@"')

    def agent(self, binary: Path, **settings: object) -> ConfinedAgent:
        extra = {**SMALL_CHUNKS, "engine": {"binary": str(binary), **settings}}
        return ConfinedAgent(self._base / "agent", self._shop, extra=extra)


@pytest.fixture
def engines(tmp_path: Path, shop: PrivateMariaDB) -> Engines:
    return Engines(tmp_path, shop)


def test_an_engine_that_is_not_there_is_missing(engines: Engines, tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = engines.agent(tmp_path / "nowhere")
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_missing", "engine", f"{tmp_path}/nowhere is not installed")


def test_an_engine_that_may_not_be_executed_is_missing(engines: Engines, shop: PrivateMariaDB) -> None:
    agent = engines.agent(engines.script("exit 0", mode=0o644))
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_missing", "engine", "or not executable")


@pytest.mark.parametrize(
    ("text", "words"),
    [("echo something else", "does not say which version of mariadb-backup it is"), ("exec /dev/null", "does not say")],
)
def test_what_is_no_engine_is_missing(engines: Engines, shop: PrivateMariaDB, text: str, words: str) -> None:
    agent = engines.agent(engines.script(text))
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_missing", "engine", words)


def test_an_engine_whose_interpreter_is_gone_is_missing(engines: Engines, shop: PrivateMariaDB) -> None:
    binary = engines.script("")
    binary.write_text("#!/nowhere/sh\n")
    agent = engines.agent(binary)
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_missing", "engine", "can't be run")


def test_a_missing_extractor_is_noticed_at_the_backup(engines: Engines, tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = engines.agent(Path("mariadb-backup"), stream_binary=str(tmp_path / "mbstream"))
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_missing", "engine", f"{tmp_path}/mbstream is not installed")


def test_an_engine_of_another_series_is_refused_for_backup_and_restore(engines: Engines, shop: PrivateMariaDB) -> None:
    engine = engines.script('exec mariadb-backup "$@"')
    agent = engines.agent(engine)
    backup = agent.backup()
    engines.fake("of another series", "11.4.2-MariaDB")
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once")
        refused(outcome, "engine_version", "engine", "mariadb-backup is of version 11.4.2-MariaDB, the server of 10.")
        assert "series 10." in outcome.error["hint"]
        outcome = agent.run("restore", backup["id"], "--target-dir", agent.base / "target")
        refused(outcome, "engine_version", "engine", "here is mariadb-backup 11.4.2-MariaDB")
        assert not (agent.base / "target").exists()
    engines.script('exec mariadb-backup "$@"')
    agent.restore(backup["id"], agent.base / "target")


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("fails after all", "engine_failed", ["ended with status 1", "completed OK!"]),
        ("silent", "engine_failed", ["ended with status 0", "That is all."]),
        ("without LSNs", "engine_failed", ["said OK, but none of xtrabackup_checkpoints"]),
        ("garbage", "stream_not_extractable", ["where a record should start"]),
        ("cut", "stream_not_extractable", ["not with mariadb_backup_info or xtrabackup_info"]),
    ],
)
def test_an_engine_that_lies_gives_no_backup(
    engines: Engines, shop: PrivateMariaDB, behaviour: str, code: str, words: list[str]
) -> None:
    agent = engines.agent(engines.fake(behaviour))
    with nothing_left_behind(agent, shop):
        outcome = agent.run("run-once")
        refused(outcome, code, "engine", *words)
    assert [line["error"]["code"] for line in outcome.events("backup.failed")] == [code]
    assert bool(outcome.events("backup.warning")) == (code == "stream_not_extractable")  # it is tried once more


def test_the_real_stream_cut_between_two_records_gives_no_backup(engines: Engines, shop: PrivateMariaDB) -> None:
    """With `completed OK!` and status 0, and the LSNs in place: only the stream itself tells."""
    cutter = Path(__file__).with_name("cut_stream.py")
    agent = engines.agent(
        engines.script(f'{REAL}mariadb-backup "$@" | {shlex.join([sys.executable, str(cutter), "xtrabackup_info"])}')
    )
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "stream_not_extractable", "engine", "the stream ends after")
    agent.with_config(str(engines.script("")), "mariadb-backup")
    assert agent.backup()["status"] == "COMPLETED"


def test_the_real_engine_with_another_status_gives_no_backup(engines: Engines, shop: PrivateMariaDB) -> None:
    agent = engines.agent(engines.script(f'{REAL}mariadb-backup "$@"; exit 3'))
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_failed", "engine", "ended with status 3", "completed OK!")


def test_an_engine_that_refuses_its_arguments_is_quoted(engines: Engines, shop: PrivateMariaDB) -> None:
    agent = engines.agent(Path("mariadb-backup"), extra_args=["--no-such-option"])
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "engine_failed", "engine", "unknown option '--no-such-option'")


def test_an_engine_that_hangs_can_be_interrupted(engines: Engines, shop: PrivateMariaDB) -> None:
    agent = engines.agent(engines.fake("hangs"))
    with nothing_left_behind(agent, shop), Running(agent, "run-once") as running:
        until(lambda: len([name for name in agent.stored_files() if "/chunk-" in name]) >= 4, "four chunks")
        assert len(processes(agent)) == 2
        running.send(SIGTERM)
        outcome = running.end()
    assert (outcome.status, outcome.error["code"]) == (143, "interrupted")
    assert "SIGTERM" in outcome.error["event"]

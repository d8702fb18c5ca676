"""kill -9 at every step of a deletion: a rerun, or the next start of the daemon, does the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import SECONDS
from tests.daemon import FAST, Daemon, Platform
from tests.e2e.test_delete_by_message import delete
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent
from tests.faults.killpoint import DELETING
from tests.faults.traces import contents, lock_is_free
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ
from tests.shelves import Shelf, listed, outbox, stored, write

pytestmark = pytest.mark.server

LAUNCHER = str(Path(__file__).with_name("killpoint.py"))
BY_HAND_ALONE = {"before the plan is noted", "the plan is noted"}
BY_MESSAGE = ["a command came, and is not journaled", "journaled, not acknowledged", *(DELETING.keys() - BY_HAND_ALONE)]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return write(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def others(shelf: Shelf) -> dict[str, dict[str, str]]:
    """What must not have changed by a byte."""
    return {one: contents(shelf.agent.directory(one)) for one in shelf.second_chain}


def killed_at(point: str, agent: ConfinedAgent, mark: Path, *arguments: str) -> int:
    argv = agent.argv(*arguments)
    words = [sys.executable, LAUNCHER, point, str(mark), *argv[argv.index("backup_agent") + 1 :]]
    return subprocess.run(words, capture_output=True, check=False, timeout=SECONDS).returncode


@pytest.mark.parametrize("point", DELETING)
def test_killed_at_each_step_a_rerun_by_hand_does_the_rest(
    shelf: Shelf, others: dict[str, dict[str, str]], tmp_path: Path, point: str
) -> None:
    agent = shelf.copy(tmp_path / "agent")
    assert killed_at(point, agent, tmp_path / "mark", "delete", shelf.base, "--cascade") == -9
    assert lock_is_free(agent)
    whole = listed(agent)
    for one in whole:
        assert agent.run("show", one).status == 0, "its chain is whole"
    again = agent.run("delete", shelf.base, "--cascade", "--json")
    if point == "the end is noted":
        assert again.error["code"] == "backup_not_found"
    else:
        assert again.status == 0, again.stderr
        assert again.json["deleted"]["backups"][-1] == shelf.base
    assert stored(agent) == listed(agent) == shelf.second_chain
    assert {one: contents(agent.directory(one)) for one in shelf.second_chain} == others
    assert sorted(outbox(agent)) == sorted(("backup.deleted", one) for one in shelf.first_chain)
    assert agent.run("status", "--json").json["status"]["tasks"] == []


def test_what_was_killed_by_hand_is_finished_by_whoever_deletes_or_collects_next(shelf: Shelf, tmp_path: Path) -> None:
    for number, command in enumerate((("gc",), ("expire", "--keep-fulls", "9", "--yes"), ("delete", shelf.twin))):
        agent = shelf.copy(tmp_path / f"agent-{number}")
        mark = tmp_path / f"mark-{number}"
        assert killed_at("a chunk is gone", agent, mark, "delete", shelf.child, "--cascade") == -9
        assert agent.run(*command).status == 0
        left = shelf.second_chain | {shelf.base, shelf.twin}
        assert stored(agent) == (left - {shelf.twin} if command[0] == "delete" else left)


@pytest.fixture
def agent(shelf: Shelf, tmp_path: Path, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    broker = {"urls": [shared_rabbitmq.url], "user": USER, "password": PASSWORD, **FAST}
    return shelf.copy(tmp_path / "agent", {**SMALL_CHUNKS, "broker": broker})


@pytest.fixture
def platform(agent: ConfinedAgent, rabbitmq: PrivateRabbitMQ) -> Iterator[Platform]:
    with Platform(rabbitmq, agent) as platform:
        yield platform


@pytest.mark.parametrize("point", sorted(BY_MESSAGE))
def test_killed_at_each_step_of_a_command_the_next_start_does_the_rest(
    agent: ConfinedAgent,
    platform: Platform,
    shelf: Shelf,
    others: dict[str, dict[str, str]],
    tmp_path: Path,
    point: str,
) -> None:
    with Daemon(agent, prefix=[LAUNCHER, point, str(tmp_path / "killed")]) as first:
        platform.await_queue()
        platform.send(delete(shelf.base))
        assert first.end().status == -9, first.text
    with Daemon(agent) as second:
        told = platform.await_event(shelf.base, "backup.deleted")
        second.await_ready()
        assert second.stop().status == 0
    assert told["data"]["status"] == "DELETED"
    for one in shelf.first_chain:
        assert {event["type"] for event in platform.events(one)} == {"backup.deleted"}
    assert stored(agent) == shelf.second_chain
    assert {one: contents(agent.directory(one)) for one in shelf.second_chain} == others

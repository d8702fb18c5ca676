"""Verifications that can't be done, are interrupted or killed: nothing stays, and nothing wrong is recorded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.app.wiring import wire
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import load
from backup_agent.domain.verification import Level, Outcome
from backup_agent.errors import ErrorCode, StoreError
from backup_agent.operations.verify import VerifyRequest, verify
from backup_agent.report.log import LogReporter
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from tests.e2e.in_process import verify_here
from tests.e2e.verifiable import Verifiable, results, verifiable, wrapper
from tests.faults.agents import ConfinedAgent, Running
from tests.faults.disks import IS_ROOT, small_disk
from tests.faults.outcomes import refused
from tests.faults.traces import lock_is_free, processes
from tests.faults.waiting import until

pytestmark = pytest.mark.server

CORRUPT = 'echo "2026-11-25 19:07:41 0 [ERROR] InnoDB: Corrupted page identifier" >&2; exit 1'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifiable]:
    with verifiable(tmp_path_factory.mktemp("verifiable")) as made:
        yield made


def agent_with_server(made: Verifiable, base: Path, *lines: str, otherwise: str) -> ConfinedAgent:
    server = wrapper(made.scratch / f"server-of-{base.name}", lines, otherwise=otherwise)
    return made.copy(base / "agent", {"verify": {"server_binary": str(server)}})


def hanging_agent(made: Verifiable, base: Path) -> tuple[ConfinedAgent, Path]:
    """Whose private server never gets ready, and the file that is there as soon as it was started."""
    directory = made.scratch / f"reached-{base.name}"
    directory.mkdir()
    directory.chmod(0o777)
    reached = directory / "reached"
    return agent_with_server(made, base, f"touch {reached}", otherwise="exec sleep 600"), reached


def scratch_of(made: Verifiable) -> list[str]:
    directory = made.scratch / f"verify-{made.agent.instance_id}"
    return [path.name for path in directory.iterdir()] if directory.exists() else []


def verifying(agent: ConfinedAgent, backup_id: str) -> Running:
    return Running(agent, "verify", backup_id, "--level", "restore")


def test_a_killed_verification_leaves_no_server_and_the_next_one_clears_up(made: Verifiable, tmp_path: Path) -> None:
    agent, reached = hanging_agent(made, tmp_path)
    with verifying(agent, made.good) as running:
        until(lambda: reached.exists() or running.ended, "the private server")
        assert not running.ended
        assert lock_is_free(agent), "backups can be taken meanwhile"
        running.kill()
        running.end()
    until(lambda: not processes(agent), "the end of all that it started")
    assert scratch_of(made) != []
    assert results(agent, made.good) == []
    again = made.copy(tmp_path / "again")
    (found,) = verify_here(again, made.good, Level.RESTORE)
    assert (found.passed, scratch_of(made)) == (True, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_verification_leaves_nothing(made: Verifiable, tmp_path: Path, number: signal.Signals) -> None:
    agent, reached = hanging_agent(made, tmp_path)
    with verifying(agent, made.good) as running:
        until(lambda: reached.exists() or running.ended, "the private server")
        running.send(number)
        outcome = running.end()
    assert (outcome.status, outcome.error["code"]) == (128 + number, "interrupted")
    assert processes(agent) == []
    assert scratch_of(made) == []
    assert results(agent, made.good) == []


def test_nothing_that_is_being_verified_is_deleted_and_another_verification_waits(
    made: Verifiable, tmp_path: Path
) -> None:
    agent, reached = hanging_agent(made, tmp_path)
    with verifying(agent, made.good) as running:
        until(lambda: reached.exists() or running.ended, "the private server")
        refused(agent.run("delete", made.full, "--cascade", "--yes", "--json"), "backup_busy", "busy", "is being read")
        second = agent.run("verify", made.full, "--level", "restore")
        refused(second, "target_not_empty", "target", "works in")
        assert agent.run("verify", made.full).status == 0, "its digests can be compared beside it"
        running.kill()
        running.end()
    assert agent.run("delete", made.full, "--cascade", "--yes", "--json").status == 0


def test_files_on_which_no_server_starts_fail_a_backup(made: Verifiable, tmp_path: Path) -> None:
    agent = agent_with_server(made, tmp_path, otherwise=CORRUPT)
    done = agent.run("verify", made.full, "--level", "restore", "--json")
    assert (done.status, done.error["code"]) == (14, "verification_failed")
    (fault,) = done.json["verifications"][0]["faults"]
    assert fault["code"] == "restored_unusable"
    assert "InnoDB: Corrupted page identifier" in fault["message"]
    assert len(results(agent, made.full)) == 1


def test_a_server_that_dies_while_it_checks_fails_a_backup(made: Verifiable, tmp_path: Path) -> None:
    """As InnoDB ends itself, by SIGABRT. It stands still from when it is ready to its end, so it never answers."""
    lines = [
        'for word in "$@"; do case "$word" in --datadir=*) log="${word#--datadir=}/server.log";; esac; done',
        'mariadbd "$@" 2>"$log" & server=$!',
        'until grep -qs "ready for connections" "$log" || ! kill -0 $server; do sleep 0.02; done',
        "kill -STOP $server",
        'cat "$log" >&2',
        "kill -KILL $server",  # its handler of SIGABRT writes a stack trace first, while other threads go on
        "wait $server",
    ]
    agent = agent_with_server(made, tmp_path, *lines, otherwise="kill -ABRT $$")
    (found,) = verify_here(agent, made.full, Level.RESTORE)
    assert (found.result, [fault.code for fault in found.faults]) == (Outcome.FAILED, ["restored_unusable"])


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"server_binary": "no-such-server"}, "engine_missing"),
        ({"server_binary": "/bin/echo"}, "engine_missing"),
        ({"server_args": ["--no-such-option"]}, "private_server_failed"),
    ],
)
def test_a_server_that_can_not_be_run_says_nothing_of_the_backup(
    made: Verifiable, tmp_path: Path, extra: dict[str, object], code: str
) -> None:
    agent = made.copy(tmp_path / "agent", {"verify": extra})
    refused(agent.run("verify", made.full, "--level", "restore"), code, "engine")
    assert (results(agent, made.full), scratch_of(made)) == ([], [])


def test_a_server_that_somebody_kills_says_nothing_of_the_backup(made: Verifiable, tmp_path: Path) -> None:
    agent = agent_with_server(made, tmp_path, otherwise="kill -KILL $$")
    refused(agent.run("verify", made.full, "--level", "restore"), "private_server_failed", "engine", "status -9")
    assert results(agent, made.full) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root could run a server as another user")
@pytest.mark.parametrize("user", ["root", "nobody-of-this-name"])
def test_no_server_is_run_as_root_or_as_nobody(made: Verifiable, tmp_path: Path, user: str) -> None:
    agent = made.copy(tmp_path / "agent", {"verify": {"user": user}})
    refused(agent.run("verify", made.full, "--level", "restore"), "owner_unknown", "target", user)
    assert (results(agent, made.full), scratch_of(made)) == ([], [])


@pytest.mark.skipif(not IS_ROOT, reason="only root may mount a small disk")
def test_too_small_a_disk_is_noticed_before_anything_is_fetched(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    with small_disk(made.scratch / "small", 20) as disk:
        done = agent.run("verify", made.full, "--level", "restore", "--scratch", disk)
        refused(done, "no_space", "target")
    assert not any("extracting" in str(line.get("step")) for line in done.log)
    assert results(agent, made.full) == []


def test_files_of_others_in_the_scratch_directory_stay(made: Verifiable, tmp_path: Path) -> None:
    directory = made.scratch / "of-others" / f"verify-{made.agent.instance_id}"
    directory.mkdir(parents=True)
    (directory / "precious").write_text("mine")
    agent = made.copy(tmp_path / "agent")
    done = agent.run("verify", made.full, "--level", "restore", "--scratch", directory.parent)
    refused(done, "target_not_empty", "target", "is not empty")
    assert (directory / "precious").read_text() == "mine"


class ReadOnly(LocalStore):
    """As with credentials that may only read."""

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        del body, sha256, once
        raise StoreError(ErrorCode.STORE_DENIED, f"not allowed to write {key}", "Ask for leave to.")


def test_who_may_only_read_the_store_can_verify(made: Verifiable, tmp_path: Path) -> None:
    agent = made.copy(tmp_path / "agent")
    store: Store = ReadOnly(agent.store, create=False)
    services = replace(wire(load(agent.config_file), LogReporter()), connect_store=lambda _, __: store)
    with capture_logs() as logs:
        (found,) = verify(VerifyRequest(made.good, Level.DIGEST), services, Cancellation(), lambda _: None)
    assert found.verification.passed
    assert [line["backup_id"] for line in logs if line["log_level"] == "warning"] == [made.good]
    assert results(agent, made.good) == []

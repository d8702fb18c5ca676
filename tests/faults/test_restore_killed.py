"""A restore that is killed: no server may start on what it leaves, and only --force begins anew."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_agent.instance.identity import RESTORE_ID_FILE
from backup_agent.operations.target import STAGE, RestoreTarget
from tests.agent import checksums
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.traces import contents, lock_is_free, processes
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

WAIT = "exec sleep 600"
MOMENTS = {
    "while the base is extracted": (
        "stream_binary",
        "mbstream",
        f'head -c 9000000 | mbstream "$@"; touch "$REACHED"; {WAIT}',
    ),
    "before the base is prepared": ("binary", "mariadb-backup", f'touch "$REACHED"; {WAIT}'),
    "after the base is prepared": ("binary", "mariadb-backup", f'mariadb-backup "$@"; touch "$REACHED"; {WAIT}'),
    "before the incremental is applied": (
        "binary",
        "mariadb-backup",
        f'case "$*" in *--incremental-dir*) touch "$REACHED"; {WAIT};; esac; exec mariadb-backup "$@"',
    ),
    "after the incremental is applied": (
        "binary",
        "mariadb-backup",
        f'mariadb-backup "$@"; case "$*" in *--incremental-dir*) touch "$REACHED"; {WAIT};; esac',
    ),
}
"""The key of the configuration, the program, and how it comes to wait, around the real program."""


@dataclass(frozen=True)
class Taken:
    """A full backup and an incremental of it, in a store that is only read, and what the shop then held."""

    agent: ConfinedAgent
    child: str
    rows: dict[str, tuple[int, int | None]]
    prepared: Path
    """The incremental, restored."""


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, shop: PrivateMariaDB) -> Taken:
    base = tmp_path_factory.mktemp("taken")
    agent = ConfinedAgent(base / "agent", shop)
    agent.backup()
    child = agent.backup("--incremental")["id"]
    rows = checksums(shop, ["shop"])
    agent.restore(child, base / "prepared")
    return Taken(agent, child, rows, base / "prepared")


def waiting_agent(base: Path, shop: PrivateMariaDB, taken: Taken, moment: str) -> tuple[ConfinedAgent, Path]:
    """And the file that is there once it waits for its kill at `moment`."""
    key, program, text = MOMENTS[moment]
    reached, script = base / "reached", base / f"waiting-{program}"
    version = f'case "$1" in --version) exec {program} --version;; esac'
    script.write_text(f"#!/bin/sh\nREACHED={reached}\n{version}\n{text}\n")
    script.chmod(0o755)
    agent = ConfinedAgent(
        base / "agent",
        shop,
        instance_id=taken.agent.instance_id,
        store_url=taken.agent.store.as_uri(),
        extra={**SMALL_CHUNKS, "engine": {key: str(script)}},
    )
    return agent, reached


def no_server_starts(base: Path, target: Path) -> None:
    server = PrivateMariaDB(base / "refusing", datadir=target)
    with pytest.raises(RuntimeError, match=r"(?s)did not start:.*\[ERROR\].*InnoDB.*\[ERROR\] Aborting"):
        server.start()
    assert not server.running


def only_force_begins_anew(base: Path, target: Path, taken: Taken) -> None:
    before = contents(target)
    plain = taken.agent.run("restore", taken.child, "--target-dir", target)
    refused(plain, "target_not_empty", "target", "holds a restore that did not end")
    assert "--force" in plain.error["hint"]
    assert contents(target) == before
    taken.agent.restore(taken.child, target, "--force")
    with PrivateMariaDB(base / "serving", datadir=target) as server:
        assert checksums(server, ["shop"]) == taken.rows
    assert not (target / STAGE).exists()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_restore_can_not_be_served_and_can_be_done_again(
    tmp_path: Path, shop: PrivateMariaDB, taken: Taken, moment: str
) -> None:
    agent, reached = waiting_agent(tmp_path, shop, taken, moment)
    target = tmp_path / "target"
    with Running(agent, "restore", taken.child, "--target-dir", target) as running:
        until(lambda: reached.exists() or running.ended, moment)
        assert not running.ended
        running.kill()
        assert running.end().status == 137
    until(lambda: not processes(agent), "the end of all that the agent started")
    assert lock_is_free(agent)
    no_server_starts(tmp_path, target)
    only_force_begins_anew(tmp_path, target, taken)


class Kill(BaseException):
    """The process ends here; nothing of ours may clean up after it."""


def killed_at_rename(monkeypatch: pytest.MonkeyPatch, target: RestoreTarget, number: int) -> None:
    """Hands the prepared files over and is killed before rename `number`, counted from 0."""
    done = 0
    rename = Path.rename

    def counted(self: Path, other: Path) -> Path:
        nonlocal done
        if done == number:
            raise Kill
        done += 1
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        with pytest.raises(Kill):
            target.hand_over(RESTORE_ID_FILE, None)
    target.release()


def claimed(directory: Path, taken: Taken) -> RestoreTarget:
    """A target whose files are prepared and ready to be handed over."""
    target = RestoreTarget.claim(directory, force=False, backup_id=taken.child)
    shutil.copytree(taken.prepared, target.base, dirs_exist_ok=True)
    return target


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_a_restore_killed_between_its_last_renames_can_not_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Taken, share: float
) -> None:
    target = claimed(tmp_path / "target", taken)
    last = len(list(target.base.iterdir())) - 1
    killed_at_rename(monkeypatch, target, round(share * last))
    no_server_starts(tmp_path, target.directory)
    only_force_begins_anew(tmp_path, target.directory, taken)


def test_a_restore_killed_after_its_last_rename_is_whole_and_never_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Taken
) -> None:
    def killed(_: Path) -> None:
        raise Kill

    target = claimed(tmp_path / "target", taken)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(Kill):
            target.hand_over(RESTORE_ID_FILE, None)
    target.release()
    before = contents(target.directory)
    forced = taken.agent.run("restore", taken.child, "--target-dir", target.directory, "--force")
    refused(forced, "target_not_empty", "target", "is not empty")
    assert contents(target.directory) == before
    with PrivateMariaDB(tmp_path / "serving", datadir=target.directory) as server:
        assert checksums(server, ["shop"]) == taken.rows

"""Directories that can't be restored into, and chunks that must not reach one."""

from __future__ import annotations

import getpass
import os
import pwd
import resource
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, TargetError
from backup_agent.operations.target import RestoreTarget
from tests.agent import checksums
from tests.faults.agents import ConfinedAgent, without_powers
from tests.faults.disks import IS_ROOT, files_limited_to, small_disk
from tests.faults.outcomes import refused
from tests.faults.traces import contents, nothing_left_behind
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Library:
    """A full backup and an incremental of it, only to be read, and what the shop then held."""

    agent: ConfinedAgent
    full: str
    child: str
    rows: dict[str, tuple[int, int | None]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, shop: PrivateMariaDB) -> Library:
    agent = ConfinedAgent(tmp_path_factory.mktemp("library") / "agent", shop)
    full = agent.backup("--name", "base")["id"]
    shop.execute("INSERT INTO shop.orders (what) SELECT RANDOM_BYTES(100) FROM mysql.seq_1_to_100")
    rows = checksums(shop, ["shop"])
    return Library(agent, full, agent.backup("--incremental")["id"], rows)


@pytest.fixture
def borrower(library: Library, tmp_path: Path, shop: PrivateMariaDB) -> ConfinedAgent:
    """An agent on a copy of the library's store, which the test may spoil."""
    agent = ConfinedAgent(tmp_path / "agent", shop, instance_id=library.agent.instance_id)
    shutil.copytree(library.agent.store, agent.store)
    return agent


def test_an_unknown_backup_is_not_found(library: Library, tmp_path: Path) -> None:
    with nothing_left_behind(library.agent):
        for arguments in (
            ("restore", str(uuid.uuid4()), "--target-dir", tmp_path / "target"),
            ("show", str(uuid.uuid4())),
        ):
            refused(library.agent.run(*arguments), "backup_not_found", "rejected", str(arguments[1]))
    assert not (tmp_path / "target").exists()


def test_a_backup_may_be_named_by_its_beginning_or_as_the_latest(library: Library, tmp_path: Path) -> None:
    for number, name in enumerate((library.child, library.child[:8], "latest")):
        assert library.agent.restore(name, tmp_path / f"target{number}")["backup_id"] == library.child


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    "name", ["my.cnf", "ib_logfile0", ".backup-agent-restore/restore.json", "lost+found.txt", "shop/orders.ibd"]
)
def test_a_directory_with_files_of_others_is_refused_and_kept(
    library: Library, tmp_path: Path, name: str, force: tuple[str, ...]
) -> None:
    target = tmp_path / "target"
    (target / name).parent.mkdir(parents=True)
    (target / name).write_bytes(b"not ours")
    with nothing_left_behind(library.agent):
        outcome = library.agent.run("restore", library.full, "--target-dir", target, *force)
        refused(outcome, "target_not_empty", "target", f"{target} is not empty")
    assert contents(target).keys() == {name}


def test_a_file_is_no_directory(library: Library, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    for target in (tmp_path / "target", tmp_path / "target" / "below"):
        with nothing_left_behind(library.agent):
            outcome = library.agent.run("restore", library.full, "--target-dir", target, "--force")
            refused(outcome, "target_unusable", "target", str(target))
    assert (tmp_path / "target").read_text() == "mine"


def test_a_directory_that_can_not_be_made_is_unusable(
    borrower: ConfinedAgent, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    borrower.prefix = without_powers()
    with nothing_left_behind(borrower):
        outcome = borrower.run("restore", library.full, "--target-dir", tmp_path / "closed" / "target")
        refused(outcome, "target_unusable", "target", "Permission denied")
    assert list((tmp_path / "closed").iterdir()) == []


@pytest.mark.parametrize("kind", ["limited files"] + (["small disk"] if IS_ROOT else []))
def test_a_disk_without_room_is_left_empty(
    borrower: ConfinedAgent, library: Library, tmp_path: Path, kind: str
) -> None:
    with nothing_left_behind(borrower):
        if kind == "limited files":
            borrower.prefix = files_limited_to(2_000_000)
            outcome = borrower.run("restore", library.child, "--target-dir", tmp_path / "target")
            refused(outcome, "extract_failed", "engine", "mbstream could not extract the stream")
            assert list((tmp_path / "target").iterdir()) == []
        else:
            with small_disk(tmp_path / "target", 16) as target:
                outcome = borrower.run("restore", library.child, "--target-dir", target)
                refused(outcome, "no_space", "target", "the restore needs 0.", str(target))
                assert list(target.iterdir()) == []


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_disk_without_room_even_for_the_mark_is_left_empty(tmp_path: Path, room: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TargetError) as caught:
            RestoreTarget.claim(tmp_path / "target", force=False, backup_id="61f12fef-edb1-4561-8122-e7c00ef26a82")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code is ErrorCode.TARGET_UNUSABLE
    assert list((tmp_path / "target").iterdir()) == []


def flip(first: Path, second: Path) -> None:
    del second
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0x10
    first.write_bytes(data)


def truncate(first: Path, second: Path) -> None:
    del second
    os.truncate(first, first.stat().st_size - 1)


def lose(first: Path, second: Path) -> None:
    del second
    first.unlink()


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


@pytest.mark.parametrize("spoil", [flip, truncate, lose, swap])
def test_spoilt_chunks_leave_the_directory_empty(
    borrower: ConfinedAgent, library: Library, tmp_path: Path, spoil: Callable[[Path, Path], None]
) -> None:
    """Late in the chain, when the base has been extracted and prepared already."""
    chunks = sorted(borrower.directory(library.child).glob("chunk-*"))
    spoil(chunks[-1], chunks[0])
    with nothing_left_behind(borrower):
        outcome = borrower.run("restore", library.child, "--target-dir", tmp_path / "target")
        code = "chunk_missing" if spoil is lose else "chunk_corrupt"
        refused(outcome, code, "integrity", library.child)
    assert list((tmp_path / "target").iterdir()) == []
    borrower.restore(library.full, tmp_path / "target")


def test_the_root_of_a_fresh_file_system_counts_as_empty(library: Library, tmp_path: Path) -> None:
    (tmp_path / "target" / "lost+found").mkdir(parents=True)
    library.agent.restore(library.full, tmp_path / "target")
    assert (tmp_path / "target" / "lost+found").is_dir()
    with PrivateMariaDB(tmp_path / "second", datadir=tmp_path / "target") as restored:
        assert restored.query("SELECT COUNT(*) > 0 FROM shop.orders") == [(1,)]


@pytest.mark.parametrize("owner", ["no-such-user-here", "root:no-such-group-here", "-1", ":", "0:4294967295", "9" * 30])
def test_an_unknown_owner_is_refused_before_anything_is_done(library: Library, tmp_path: Path, owner: str) -> None:
    with nothing_left_behind(library.agent):
        outcome = library.agent.run("restore", library.full, "--target-dir", tmp_path / "target", f"--owner={owner}")
        refused(outcome, "owner_unknown", "target", owner)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("prepare", ["--prepare", "--no-prepare"])
def test_who_may_not_give_files_away_learns_it_first(
    borrower: ConfinedAgent, library: Library, tmp_path: Path, prepare: str
) -> None:
    borrower.prefix = without_powers()
    with nothing_left_behind(borrower):
        outcome = borrower.run(
            "restore", library.full, "--target-dir", tmp_path / "target", "--owner", "nobody", prepare
        )
        refused(outcome, "owner_unknown", "target", "Operation not permitted")
        assert not outcome.events("restore")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("prepare", ["--prepare", "--no-prepare"])
def test_the_files_belong_to_the_owner_asked_for(library: Library, tmp_path: Path, prepare: str) -> None:
    """Root gives them to nobody; others can only name themselves."""
    owner = "nobody" if IS_ROOT else getpass.getuser()
    target = tmp_path / "target"
    library.agent.restore(library.child, target, "--owner", owner, prepare)
    account = pwd.getpwnam(owner)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (target, *target.rglob("*"))}
    assert owners == {(account.pw_uid, account.pw_gid)}


def test_what_was_only_extracted_can_be_prepared_by_hand(library: Library, tmp_path: Path) -> None:
    target = tmp_path / "target"
    restored = library.agent.restore(library.child, target, "--no-prepare")
    assert restored["prepared"] is False
    assert sorted(path.name for path in target.iterdir()) == ["base", "incremental-001"]
    for more in ((), (f"--incremental-dir={target}/incremental-001",)):
        subprocess.run(
            ["mariadb-backup", "--prepare", f"--target-dir={target}/base", *more], capture_output=True, check=True
        )
    with PrivateMariaDB(tmp_path / "second", datadir=target / "base") as server:
        assert checksums(server, ["shop"]) == library.rows

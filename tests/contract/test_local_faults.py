"""What a store in a directory makes of full and forbidden file systems, of kills and of foreign files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError
from backup_agent.storage.local import LocalStore
from tests.contract.local_process import KEY, body_of

PROCESS = [sys.executable, "-m", "tests.contract.local_process"]
CHUNK = KEY.format(0)
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    made = LocalStore(root, create=True)
    made.prepare("box")
    return made


def files(root: Path) -> list[str]:
    """Whatever there is but directories, hidden or not."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=240).stdout


def test_a_file_that_may_not_grow_is_reported_as_a_full_store_and_removed(store: LocalStore, root: Path) -> None:
    said = run(*PROCESS, "limited", str(root))

    assert said.startswith("store_full can't put file://")
    assert CHUNK in said
    assert files(root) == []
    store.put(CHUNK, b"room again")


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root; the test above needs nothing")
def test_a_full_disk_is_reported_and_holds_no_part_of_the_object(root: Path) -> None:
    root.mkdir()
    script = (
        f"mount -t tmpfs -o size=1m none {shlex.quote(str(root))}"
        f" && {shlex.join(PROCESS)} once {shlex.quote(str(root))}"
        f" && echo && find {shlex.quote(str(root))} -type f"
    )

    said = run("unshare", "--mount", "sh", "-c", script)

    assert said.startswith("store_full can't put file://")
    assert "No space left on device" in said
    assert said.splitlines()[1:] == []


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root; the test below needs nothing")
def test_a_read_only_file_system_is_reported_as_denied(store: LocalStore, root: Path) -> None:
    store.put(CHUNK, b"x")
    quoted = shlex.quote(str(root))
    script = (
        f"mount --bind {quoted} {quoted} && mount -o remount,bind,ro {quoted} && {shlex.join(PROCESS)} once {quoted}"
    )

    said = run("unshare", "--mount", "sh", "-c", script)

    assert said.startswith("store_denied can't prepare file://")
    assert "Read-only file system" in said


@pytest.fixture
def others_directory() -> Iterator[Path]:
    """One that everybody can enter, but only its owner can write, and not even he when he is not root."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    yield directory
    shutil.rmtree(directory)


def test_a_directory_of_another_user_is_reported_as_denied(others_directory: Path) -> None:
    said = run(*PROCESS, "nobody", str(others_directory))

    assert said.startswith("store_denied can't prepare file://")
    assert "Permission denied" in said
    assert "Let the agent's user write there" in said


def test_a_file_where_the_root_should_be_is_a_missing_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError) as caught:
        LocalStore(tmp_path / "file", create=False).prepare("box")

    assert caught.value.code is ErrorCode.STORE_MISSING


def test_a_file_where_a_directory_should_be_fails_the_put_and_holds_no_object(store: LocalStore, root: Path) -> None:
    (root / "box" / "instance").write_bytes(b"")

    with pytest.raises(StoreError) as caught:
        store.put(CHUNK, b"x")

    assert caught.value.code is ErrorCode.STORE_FAILED
    with pytest.raises(MissingError):
        store.get(CHUNK, limit=1)
    store.delete(CHUNK)


def test_a_file_that_ends_before_its_length_is_never_a_short_result() -> None:
    kernel = LocalStore(Path("/sys"), create=False)  # whose files claim a page each

    with pytest.raises(TransientStoreError, match="it ended after") as caught:
        kernel.get("devices/system/cpu/online", limit=4096)

    assert caught.value.code is ErrorCode.STORE_UNREACHABLE


def kill_in_the_middle_of_a_put(root: Path) -> list[Path]:
    """The leftovers of a process that was killed while it put one object after another."""
    process = subprocess.Popen([*PROCESS, "endless", str(root)])
    try:
        while True:
            assert process.poll() is None
            if not list(root.rglob(".put-*")):
                continue
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            if leftovers := list(root.rglob(".put-*")):
                return leftovers
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.wait()


def test_a_killed_put_leaves_no_object_and_its_leftover_is_swept(store: LocalStore, root: Path) -> None:
    leftovers = kill_in_the_middle_of_a_put(root)

    assert all(leftover.exists() for leftover in leftovers)
    for number, entry in enumerate(store.list("")):
        assert entry.key == KEY.format(number)
        assert store.get(entry.key, limit=1 << 30) == body_of(number)
        store.delete(entry.key)
    store.delete(CHUNK)
    assert files(root) == []


def test_a_place_with_nothing_but_leftovers_shows_nothing_and_preparing_sweeps_it(
    store: LocalStore, root: Path
) -> None:
    kill_in_the_middle_of_a_put(root)
    for chunk in root.rglob("chunk-*"):
        chunk.unlink()
    store.put("box/instance/other/manifest.json", b"{}")

    assert [entry.key for entry in store.list("")] == ["box/instance/other/manifest.json"]
    assert list(store.children("box/instance/")) == ["other"]
    store.prepare("box")
    assert files(root) == ["box/instance/other/manifest.json"]
    assert not (root / "box" / "instance" / "backup").exists()


def test_a_put_under_way_is_not_taken_for_a_leftover(store: LocalStore, root: Path) -> None:
    place = root / "box" / "instance" / "backup"
    place.mkdir(parents=True)
    writing = place / ".put-0123456789abcdef"
    with writing.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.prepare("box")
        store.delete(CHUNK)
        assert writing.exists()
    store.prepare("box")
    assert not writing.exists()


def test_puts_survive_sweeps_and_deletes_in_other_threads(store: LocalStore) -> None:
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            store.prepare("box")

    def put_and_delete(number: int) -> None:
        for _ in range(40):
            store.put(KEY.format(number), b"x")
            assert store.get(KEY.format(number), limit=9) == b"x"
            store.delete(KEY.format(number))

    with ThreadPoolExecutor(5) as pool:
        sweeping = pool.submit(sweep)
        try:
            list(pool.map(put_and_delete, range(4)))
        finally:
            ended.set()
        sweeping.result()

    assert list(store.list("")) == []


def test_a_listing_survives_deletes_under_it(store: LocalStore) -> None:
    for number in range(20):
        store.put(KEY.format(number), b"x")

    listed = []
    for entry in store.list("box/"):
        listed.append(entry.key)
        store.delete(entry.key)
        store.delete(KEY.format(len(listed) + 9))

    assert listed == [KEY.format(number) for number in range(10)]
    assert list(store.list("box/")) == []


def test_deleting_the_last_object_removes_the_directories_above_it_but_not_the_root(
    store: LocalStore, root: Path
) -> None:
    store.put("box/i/b1/chunk-0", b"x")
    store.put("box/i/b2/chunk-0", b"x")

    store.delete("box/i/b1/chunk-0")
    assert sorted(path.name for path in (root / "box" / "i").iterdir()) == ["b2"]
    store.delete("box/i/b2/chunk-0")
    assert list(root.iterdir()) == []


def test_files_and_directories_are_the_owners_alone(store: LocalStore, root: Path) -> None:
    store.put(CHUNK, b"x")

    assert stat.S_IMODE((root / CHUNK).stat().st_mode) == 0o600
    for directory in [root, *(root / CHUNK).relative_to(root).parents]:
        assert stat.S_IMODE((root / directory).stat().st_mode) == 0o700


def test_links_special_files_and_hidden_ones_are_no_objects(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"not ours")
    (root / "box" / "link").symlink_to(tmp_path / "secret" / "file")
    (root / "box" / "tree").symlink_to(tmp_path / "secret")
    (root / "box" / ".nfs0001").write_bytes(b"")
    os.mkfifo(root / "box" / "fifo")

    assert list(store.list("")) == []
    assert list(store.children("")) == []
    assert list(store.children("box/")) == []
    for name in ("link", "fifo"):
        with pytest.raises(MissingError):
            store.get(f"box/{name}", limit=9)
    store.delete("box/link")
    assert (tmp_path / "secret" / "file").read_bytes() == b"not ours"


def test_a_listing_does_not_wait_for_the_whole_tree(store: LocalStore) -> None:
    for number in range(3):
        store.put(f"box/i/b{number}/chunk-0", b"x")

    listing = store.list("box/")
    assert next(listing).key == "box/i/b0/chunk-0"
    store.put("box/i/b2/chunk-1", b"put after the listing began")
    assert [entry.key for entry in listing][-1] == "box/i/b2/chunk-1"


def test_a_relative_root_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="is not absolute"):
        LocalStore(Path("relative"), create=True)


def test_a_put_goes_on_after_its_directory_was_removed_by_another_process(store: LocalStore, root: Path) -> None:
    """Fewer times than a put tries; each time at whatever point the put has come to."""
    directory, removals = root / "box" / "i" / "b", 20
    done = threading.Event()

    def remove() -> None:
        left = removals
        while left and not done.is_set():
            with contextlib.suppress(OSError):  # it is not empty, or not made again yet
                directory.rmdir()
                left -= 1
                directory.parent.rmdir()
        done.set()

    removing = threading.Thread(target=remove)
    removing.start()
    try:
        number = 0
        while not done.is_set():
            store.put(f"box/i/b/chunk-{number}", b"x")
            (directory / f"chunk-{number}").unlink()
            number += 1
    finally:
        done.set()
        removing.join()
    assert number > 0

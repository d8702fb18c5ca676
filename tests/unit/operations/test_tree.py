"""Whole directory trees: what is in them, and that all of it is on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backup_agent.operations.tree import files_in, sync_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    for name in ("ibdata1", "shop/a.ibd", "shop/deep/er/b.MYD"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"x" * len(name))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (made / "link").symlink_to(tmp_path / "elsewhere")
    for number in range(1100):
        (made / "shop" / f"{number}.frm").touch()
    return made


def path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def test_every_file_is_told_with_its_size_and_none_behind_a_link(tree: Path) -> None:
    found = files_in(tree)
    assert {name: size for name, size in found.items() if not name.endswith(".frm")} == {
        "ibdata1": 7,
        "shop/a.ibd": 10,
        "shop/deep/er/b.MYD": 18,
    }
    assert len(found) == 1103


def test_every_file_and_directory_is_made_durable(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path_of(descriptor)))
    sync_tree(tree)
    assert sorted(synced) == sorted(path for path in (tree, *tree.rglob("*")) if not path.is_symlink())


def test_what_can_not_be_made_durable_is_raised(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        if path_of(descriptor).name == "b.MYD":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        sync_tree(tree)

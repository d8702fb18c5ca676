"""A store in a directory: a local disk, or a network file system mounted by the host.

An object is a file whose path below the root is its key. Symbolic links, special files and names that start with a dot
are not objects, and are not followed when found in a listing. Nothing here checks that the root is the mount it should
be; let the unit require the mount (`RequiresMountsFor=`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from backup_agent import directories
from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError
from backup_agent.storage.interface import StoredObject
from backup_agent.storage.keys import check_key, check_parent, check_prefix, is_part
from backup_agent.storage.leftovers import sweep
from backup_agent.storage.local_directories import Directories
from backup_agent.storage.local_errors import translated
from backup_agent.storage.local_files import holds, open_unfollowed, try_to_write, write

_PUT_TRIES = 100  # a put tries again when its directory is removed under it; this often in a row is no coincidence
_NO_OBJECT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def is_made(root: Path) -> bool:
    """Whether a store's root is there. Makes nothing. Raises StoreError where `prepare` could not make it."""
    if root.is_dir():  # perhaps not to be written, while the container in it is
        return True
    with translated("prepare", root.as_uri()):
        directories.where(root)
    return False


class LocalStore:
    """Implements `Store`. Files get mode 0600, directories 0700.

    `create` allows `prepare`, and only it, to make the root: a put never does, so that a backup is not continued on
    the disk below a mount that went away. `children` passes by directories in which there is no object yet or any
    more; `prepare` removes those, with the temporary files that killed processes left in them.
    """

    def __init__(self, root: Path, *, create: bool) -> None:
        if not root.is_absolute():
            msg = f"{root} is not absolute"
            raise ValueError(msg)
        self._root = root
        self._create = create
        self._directories = Directories(root)

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def prepare(self, container: str) -> None:
        check_key(container)
        directory = self._root / container
        with translated("prepare", self._place(container)):
            if self._create:
                self._directories.make_root()
            self._require_root()
            # Another process may remove it at once, because it is empty. A put makes it again.
            with contextlib.suppress(FileNotFoundError):
                self._directories.make(directory)
                try_to_write(directory)
                self._directories.settle(directory)
            sweep(directory)

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        del sha256  # fsync confirms
        check_key(key)
        target = self._root / key
        with translated("put", self._place(key)):
            for _ in range(_PUT_TRIES):
                try:
                    self._directories.make(target.parent)
                    write(target, body, replace=not once)
                    self._directories.settle(target.parent)
                except FileExistsError as error:
                    if not holds(target, body):
                        raise self._in_the_way(key) from error
                    self._directories.settle(target.parent)
                    return
                except FileNotFoundError:
                    self._require_root()  # otherwise a delete removed the emptied directory: make it again
                else:
                    return
        raise StoreError(
            ErrorCode.STORE_FAILED,
            f"can't put {self._place(key)}: its directory is removed again and again",
            "Find out what else removes files there.",
        )

    def get(self, key: str, *, limit: int) -> bytes:
        check_key(key)
        with translated("get", self._place(key)):
            try:
                with open(self._root / key, "rb", opener=open_unfollowed) as file:
                    status = os.fstat(file.fileno())
                    size = min(limit, status.st_size)
                    body = file.read(size) if stat.S_ISREG(status.st_mode) else None
            except OSError as error:
                if error.errno not in _NO_OBJECT:
                    raise
                self._require_root()
                raise self._missing(key) from error
        if body is None:
            raise self._missing(key)
        if len(body) < size:
            raise TransientStoreError(
                ErrorCode.STORE_UNREACHABLE,
                f"can't get {self._place(key)}: it ended after {len(body)} of {size} bytes",
                "Find out what else writes there, and check the disk and the kernel's log.",
            )
        return body

    def list(self, prefix: str) -> Iterator[StoredObject]:
        check_prefix(prefix)
        parent, slash, start = prefix.rpartition("/")
        with translated("list", self._place(prefix)):
            self._require_root()
            yield from self._walk(parent + slash, start)

    def children(self, prefix: str) -> Iterator[str]:
        check_parent(prefix)
        with translated("list", self._place(prefix)):
            self._require_root()
            for name in _names(self._root / prefix, ""):
                if name.endswith("/") and _holds_objects(self._root / prefix / name):
                    yield name.removesuffix("/")

    def delete(self, key: str) -> None:
        check_key(key)
        target = self._root / key
        with translated("delete", self._place(key)):
            try:
                target.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_root()  # otherwise there is no such object, which is what was asked for
            self._directories.prune(target.parent)

    def _walk(self, parent: str, start: str) -> Iterator[StoredObject]:
        """The objects below the key prefix `parent` (empty, or ending in a slash) whose next part begins as `start`."""
        for name in _names(self._root / parent, start):
            key = parent + name
            if key.endswith("/"):
                yield from self._walk(key, "")
                continue
            try:
                status = (self._root / key).lstat()
            except FileNotFoundError:
                continue  # deleted since
            yield StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise StoreError(
                ErrorCode.STORE_MISSING,
                f"the store's directory {self._root} does not exist, or is none",
                "Mount or make it, or set store.create to have it made.",
            )

    def _missing(self, key: str) -> MissingError:
        return MissingError(
            ErrorCode.OBJECT_MISSING,
            f"there is no object {self._place(key)}",
            "Check the store's URL and the backup's id.",
        )

    def _in_the_way(self, key: str) -> StoreError:
        return StoreError(
            ErrorCode.OBJECT_EXISTS,
            f"can't put {self._place(key)}: something else lies there",
            "Find out who else writes there: these names belong to the agent alone.",
        )

    def _place(self, key: str) -> str:
        return f"{self.url}/{key}"


def _names(directory: Path, start: str) -> list[str]:
    """Files, and directories with a slash added, in the order their keys have; empty when there is no directory."""
    names = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not is_part(entry.name) or not entry.name.startswith(start):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(f"{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(names)


def _holds_objects(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not is_part(entry.name):
                    continue
                if entry.is_file(follow_symlinks=False):
                    return True
                if entry.is_dir(follow_symlinks=False) and _holds_objects(Path(entry.path)):
                    return True
    except FileNotFoundError:
        pass  # removed since
    return False

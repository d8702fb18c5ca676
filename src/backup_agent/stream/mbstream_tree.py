"""What `mbstream -x` leaves on disk, record by record: a model of the tool, without touching a disk.

It follows the tool as it was seen to behave (10.11.19, one thread: with `--parallel` above 1 the tool may fail on
streams that it extracts with 1):

- it makes the directory of a file, one level only;
- removing a directory removes all that is in it (the engine does that for DROP DATABASE);
- removing or renaming what is not there does nothing: the engine replays the DDL it met and counts on that;
- a rename replaces the file that has the new name, and makes no directory;
- right after a rename it fails to close any file until another payload came (see Refusal.CLOSE_AFTER_RENAME).
"""

from __future__ import annotations

import zlib
from enum import Enum, auto
from typing import Final, NamedTuple

from backup_agent.stream.mbstream_refusal import NotExtractableError, Refusal

_HEADS: Final = {".frm": 64, ".par": 64, ".MYI": 128, ".MAI": 128, ".new": 64, ".ren": 1024}
"""How many bytes are kept of files with these endings: definitions, headers of indexes, the engine's notes on DDL."""


class Head(NamedTuple):
    """The first bytes of a file, and the CRC-32 of the whole."""

    start: bytes
    crc: int


class Replay(Enum):
    """What the engine does to a file it had copied when it repeats the DDL it met."""

    RENAMED = auto()
    REMOVED = auto()
    REWRITTEN = auto()


class Replayed(NamedTuple):
    """`path` is the file's name before a rename."""

    replay: Replay
    path: str


class OpenFile:
    """Offsets and sizes in bytes. `content` holds what was written, for files that are captured."""

    __slots__ = ("content", "crc", "kept", "path", "position", "size", "start")

    def __init__(self, path: str, *, captured: bool) -> None:
        self.path = path
        self.position = 0
        self.size = 0
        self.content = bytearray() if captured else None
        self.kept = _HEADS.get(path[-4:], 0)
        self.start = bytearray()
        self.crc = 0

    def look(self, piece: memoryview) -> None:
        """Notes what is kept of the next bytes."""
        if self.kept:
            self.start += piece[: self.kept - len(self.start)]
            self.crc = zlib.crc32(piece, self.crc)

    def seek(self, offset: int) -> None:
        if offset > self.size or self.path.endswith(".ibd"):
            raise NotExtractableError(Refusal.SEEK, f"a seek to {offset} in {self.path!r}, of {self.size} bytes so far")
        self.position = offset

    def advance(self, length: int) -> None:
        self.position += length
        self.size = max(self.size, self.position)


class ExtractedTree:
    """The files so far. `own` are the files that no record may remove or rename; of `capture` the content is kept.

    `replayed` holds what was done to files after they were copied: what met no file is not in it.
    """

    def __init__(self, *, own: frozenset[str], capture: frozenset[str]) -> None:
        self.closed: dict[str, int] = {}
        self.opened: dict[str, OpenFile] = {}
        self.captured: dict[str, bytes] = {}
        self.heads: dict[str, Head] = {}
        self.replayed: list[Replayed] = []
        self._own = own
        self._capture = capture
        self._directories = {""}
        self._renamed_last = False

    def open(self, path: str, *, rewrite: bool) -> OpenFile:
        """The open file, made when it was not open yet."""
        file = self.opened.get(path)
        if file is not None:
            return file
        if path in self._directories or (path in self.closed and not rewrite):
            raise NotExtractableError(Refusal.EXISTS, f"{path!r} starts a second time")
        self._make_directory(path)
        if rewrite:
            self.replayed.append(Replayed(Replay.REWRITTEN, path))
        self.closed.pop(path, None)
        file = self.opened[path] = OpenFile(path, captured=path in self._capture)
        return file

    def note_payload(self) -> None:
        """A payload was seen, so that files can be closed again."""
        self._renamed_last = False

    def close(self, path: str, *, rewrite: bool) -> None:
        """An end for a path that is not open makes an empty file."""
        if self._renamed_last:
            raise NotExtractableError(
                Refusal.CLOSE_AFTER_RENAME, f"{path!r} is closed after a rename and no payload in between"
            )
        file = self.open(path, rewrite=rewrite)
        del self.opened[path]
        self.closed[path] = file.size
        if file.kept:
            self.heads[path] = Head(bytes(file.start), file.crc)
        if file.content is not None:
            self.captured[path] = bytes(file.content)

    def remove(self, path: str) -> None:
        for gone in self._below(path) if path in self._directories else (path,):
            self._check_touchable(gone, "removed")
            if self.closed.pop(gone, None) is not None:
                self.replayed.append(Replayed(Replay.REMOVED, gone))
            self.heads.pop(gone, None)
            self._directories.discard(gone)

    def rename(self, old: str, new: str) -> None:
        self._check_touchable(old, "renamed")
        self._check_touchable(new, "replaced by a rename")
        self._renamed_last = True
        if old in self._directories:
            raise NotExtractableError(Refusal.RENAME, f"the directory {old!r} is renamed to {new!r}")
        if old not in self.closed:
            return
        if new in self._directories or _directory(new) not in self._directories:
            raise NotExtractableError(Refusal.RENAME, f"{old!r} is renamed to {new!r}, where no file can be")
        self.closed[new] = self.closed.pop(old)
        self.heads.pop(new, None)
        if (head := self.heads.pop(old, None)) is not None:
            self.heads[new] = head
        self.replayed.append(Replayed(Replay.RENAMED, old))

    def _check_touchable(self, path: str, what: str) -> None:
        if path in self.opened:
            raise NotExtractableError(Refusal.OPEN_FILE, f"{path!r} is {what} while it is open")
        if path in self._own:
            raise NotExtractableError(Refusal.OWN_FILE, f"{path!r} is {what}")

    def _below(self, directory: str) -> list[str]:
        inside = directory + "/"
        known = (*self.opened, *self.closed, *self._directories)
        return [directory, *(path for path in known if path.startswith(inside))]

    def _make_directory(self, path: str) -> None:
        directory = _directory(path)
        if directory in self._directories:
            return
        taken = directory in self.closed or directory in self.opened
        if taken or _directory(directory) not in self._directories:
            raise NotExtractableError(Refusal.NO_DIRECTORY, f"the directory of {path!r} can't be made")
        self._directories.add(directory)


def _directory(path: str) -> str:
    return path.rpartition("/")[0]

"""One record's header: bytes in, a checked value out. It does not judge what the record does to the files.

A record is, little-endian: 8 bytes of magic, flags (1), type (1), length of the path (4), the path, and then by type

- `P` payload: length (8), offset in the file (8), CRC-32 (4), and the payload, which is not part of the header;
- `S` seek: offset (8). Undocumented; the engine writes it when the Aria log goes on to a next file;
- `R` rename: length of the new path (4), the new path;
- `E` end of file and `D` remove: nothing.

Only payloads are covered by a checksum: a flipped bit in a path names another file.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from backup_agent.stream.mbstream_refusal import NotExtractableError, Refusal

MAGIC: Final = b"XBSTCK01"
REWRITE: Final = 0x02
"""The flag by which a file that exists is truncated rather than an error."""
PATH_LIMIT: Final = 511
"""Bytes: FN_REFLEN less the terminating NUL."""
NAME_LIMIT: Final = 255
"""Bytes a directory entry may have (NAME_MAX)."""
PAYLOAD_LIMIT: Final = 1 << 30
"""Bytes. The engine's payloads are 10 MiB and somewhat more; the tool allocates what the header says."""

_PREFIX = struct.Struct("<8sBBI")
_PAYLOAD = struct.Struct("<QQI")
_SEEK = struct.Struct("<Q")
_NEW_PATH = struct.Struct("<I")
HEADER_LIMIT: Final = _PREFIX.size + PATH_LIMIT + _NEW_PATH.size + PATH_LIMIT
"""Bytes of the longest header: a rename's."""


class Kind(IntEnum):
    PAYLOAD = ord("P")
    END = ord("E")
    SEEK = ord("S")
    REMOVE = ord("D")
    RENAME = ord("R")


_TAIL = {
    Kind.PAYLOAD: _PAYLOAD.size,
    Kind.END: 0,
    Kind.SEEK: _SEEK.size,
    Kind.REMOVE: 0,
    Kind.RENAME: _NEW_PATH.size,
}
"""Bytes that follow the path, but for a rename's new path."""


class Header(NamedTuple):
    """`size` is in bytes, the payload not counted. What a kind does not have is 0 or empty."""

    kind: int
    rewrite: bool
    path: str
    size: int
    length: int = 0
    offset: int = 0
    crc: int = 0
    new_path: str = ""


def decode(buffer: memoryview | bytearray, at: int) -> Header | None:
    """The header that starts at `at`; None when the buffer ends before it does.

    Raises NotExtractableError as soon as the bytes at hand can't become a header.
    """
    have = len(buffer) - at
    if have < _PREFIX.size:
        return None
    magic, flags, kind, path_length = _PREFIX.unpack_from(buffer, at)
    _check_prefix(magic, flags, kind, path_length)
    tail = at + _PREFIX.size + path_length
    size = _PREFIX.size + path_length + _TAIL[kind]
    if have < size:
        return None
    rewrite = flags == REWRITE
    path = _path(bytes(buffer[at + _PREFIX.size : tail]), kind)
    if kind == Kind.PAYLOAD:
        length, offset, crc = _PAYLOAD.unpack_from(buffer, tail)
        if length > PAYLOAD_LIMIT:
            raise NotExtractableError(Refusal.PAYLOAD_TOO_LARGE, f"a payload of {length} bytes for {path!r}")
        return Header(kind, rewrite, path, size, length, offset, crc)
    if kind == Kind.SEEK:
        return Header(kind, rewrite, path, size, offset=_SEEK.unpack_from(buffer, tail)[0])
    if kind == Kind.RENAME:
        return _rename(buffer, at, Header(kind, rewrite, path, size))
    return Header(kind, rewrite, path, size)


def _check_prefix(magic: bytes, flags: int, kind: int, path_length: int) -> None:
    if magic != MAGIC:
        raise NotExtractableError(Refusal.MAGIC, f"{magic!r} where a record should start")
    if flags not in (0, REWRITE):
        raise NotExtractableError(Refusal.FLAGS, f"a record with unexpected flags {flags:#04x}")
    if kind not in _TAIL:
        raise NotExtractableError(Refusal.UNKNOWN_RECORD, f"a record of the unknown type {chr(kind)!r}")
    if path_length > PATH_LIMIT:
        raise NotExtractableError(Refusal.PATH_TOO_LONG, f"a path of {path_length} bytes, more than {PATH_LIMIT}")


def _rename(buffer: memoryview | bytearray, at: int, header: Header) -> Header | None:
    new_at = at + header.size
    (new_length,) = _NEW_PATH.unpack_from(buffer, new_at - _NEW_PATH.size)
    if new_length > PATH_LIMIT:
        raise NotExtractableError(
            Refusal.PATH_TOO_LONG, f"a new path of {new_length} bytes, more than {PATH_LIMIT}, for {header.path!r}"
        )
    if len(buffer) - new_at < new_length:
        return None
    new_path = _path(bytes(buffer[new_at : new_at + new_length]), header.kind)
    return header._replace(size=header.size + new_length, new_path=new_path)


def _path(raw: bytes, kind: int) -> str:
    """The path as it is on disk below the directory extracted to. Only in `R` and `D` does the tool accept `./`."""
    if kind in (Kind.RENAME, Kind.REMOVE):
        raw = raw.removeprefix(b"./")
    elif raw.startswith(b"."):
        raise NotExtractableError(Refusal.PATH, f"the path {raw!r}, which starts with a dot")
    for name in raw.split(b"/"):
        if name in (b"", b".", b"..") or len(name) > NAME_LIMIT:
            raise NotExtractableError(Refusal.PATH, f"the path {raw!r}, which could lie elsewhere or can't be made")
    if b"\0" in raw:
        raise NotExtractableError(Refusal.PATH, f"the path {raw!r}, which the tool would cut at its NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NotExtractableError(Refusal.PATH, f"the path {raw!r}, which is not UTF-8") from error

"""Writes streams record by record, right and wrong ones."""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate

MAGIC = b"XBSTCK01"
REWRITE = 2
INFO = "xtrabackup_info"


def record(kind: str, path: str | bytes, tail: bytes = b"", *, flags: int = 0) -> bytes:
    raw = path.encode() if isinstance(path, str) else path
    return MAGIC + bytes([flags]) + kind.encode() + struct.pack("<I", len(raw)) + raw + tail


def payload(path: str | bytes, offset: int, data: bytes, *, flags: int = 0, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(data) if crc is None else crc
    return record("P", path, struct.pack("<QQI", len(data), offset, checksum) + data, flags=flags)


def end(path: str | bytes, *, flags: int = 0) -> bytes:
    return record("E", path, flags=flags)


def seek(path: str, offset: int) -> bytes:
    return record("S", path, struct.pack("<Q", offset))


def remove(path: str | bytes) -> bytes:
    return record("D", path)


def rename(old: str, new: str | bytes) -> bytes:
    raw = new.encode() if isinstance(new, str) else new
    return record("R", old, struct.pack("<I", len(raw)) + raw)


def whole(path: str | bytes, *pieces: bytes, flags: int = 0) -> bytes:
    """A file from its start to its end, one payload for each piece."""
    offsets = accumulate((len(piece) for piece in pieces), initial=0)
    return b"".join(
        [*(payload(path, at, piece, flags=flags) for at, piece in zip(offsets, pieces, strict=False)), end(path)]
    )


def closing(*records: bytes) -> bytes:
    """The records, and the info file that must be the last."""
    return b"".join(records) + whole(INFO, b"uuid = 1\n")


def boundaries(stream: bytes | memoryview) -> list[int]:
    """Where each record starts, in order."""
    starts, at = [], 0
    while at < len(stream):
        starts.append(at)
        kind = stream[at + 9]
        at += 14 + int.from_bytes(stream[at + 10 : at + 14], "little")
        if kind == ord("P"):
            at += 20 + int.from_bytes(stream[at : at + 8], "little")
        elif kind == ord("S"):
            at += 8
        elif kind == ord("R"):
            at += 4 + int.from_bytes(stream[at : at + 4], "little")
    return starts


def kinds(stream: bytes | memoryview) -> list[str]:
    """The type of each record, in order."""
    return [chr(stream[at + 9]) for at in boundaries(stream)]

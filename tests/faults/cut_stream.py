"""Passes a stream on up to the first record of a file, and swallows the rest: `cut_stream.py PATH < STREAM`."""

from __future__ import annotations

import struct
import sys
from typing import BinaryIO


def cut(source: BinaryIO, sink: BinaryIO, path: str) -> None:
    while head := source.read(14):
        kind, length = head[9:10], struct.unpack("<I", head[10:])[0]
        name = source.read(length)
        if name == path.encode():
            break
        sink.write(head + name)
        if kind == b"P":
            sizes = source.read(20)
            sink.write(sizes + source.read(struct.unpack_from("<Q", sizes)[0]))
        elif kind == b"S":
            sink.write(source.read(8))
        elif kind != b"E":
            sys.exit(f"a record of the type {kind!r} was not expected here")
    sink.flush()
    while source.read(1 << 20):
        pass


if __name__ == "__main__":
    cut(sys.stdin.buffer, sys.stdout.buffer, sys.argv[1])

"""What the header of a MyISAM table's .MYI file tells. The layout is that of MariaDB 10.11."""

from __future__ import annotations

_MAGIC = b"\xfe\xfe\x07"
_OPEN_COUNT = slice(24, 26)
_DATA_SIZE = slice(68, 76)


def stated_size(header: bytes) -> int | None:
    """The size in bytes that the .MYD file has by the first 128 bytes of the .MYI file; None when not understood."""
    if not header.startswith(_MAGIC) or len(header) < _DATA_SIZE.stop:
        return None
    return int.from_bytes(header[_DATA_SIZE], "big")


def is_open(header: bytes) -> bool:
    """Whether the table was written since it was opened, and was not closed, when its .MYI file was like this."""
    return header.startswith(_MAGIC) and any(header[_OPEN_COUNT])

"""What Aria's files tell in their headers: the identity of a data directory, and which tables can be copied online.

The layouts are those that MariaDB 10.11 writes, seen in tables made with every combination of TRANSACTIONAL,
PAGE_CHECKSUM and ROW_FORMAT.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from backup_agent.errors import ErrorCode, InstanceError

CONTROL_FILE = "aria_log_control"
_CONTROL_MAGIC = b"\xfe\xfe\x0c"
_UUID = slice(4, 20)

_INDEX_MAGIC = b"\xfe\xfe\x09"
_OPTIONS = slice(4, 6)
_PAGE_CHECKSUM = 0x0800
_BASE_POSITION = slice(12, 14)
_BORN_TRANSACTIONAL = 106
_OPTIONS_BYTES = 14

HEADER_BYTES = 64
"""Of a .MAI file, enough for `rebuilt_at`."""
_OPEN_COUNT = slice(24, 26)
_TRANSACTIONAL_SINCE = slice(28, 49)
_CREATED_OR_RENAMED = slice(28, 35)
_REDO_SKIPPED_UNTIL = slice(42, 49)
_DATA_SIZE = slice(97, 105)


def read_uuid(control_file: Path) -> str:
    """The UUID of `aria_log_control` in hex: made with the data directory, kept until the file is made anew.

    Raises OSError, and InstanceError (`datadir_unreadable`) when it is no such file.
    """
    with control_file.open("rb") as file:
        head = file.read(_UUID.stop)
    if not head.startswith(_CONTROL_MAGIC) or len(head) < _UUID.stop:
        raise InstanceError(
            ErrorCode.DATADIR_UNREADABLE,
            f"{control_file} is not an Aria control file",
            "See that @@aria_log_dir_path of the server names the directory of its Aria log.",
        )
    return head[_UUID].hex()


def is_copied_online(index_file: BinaryIO) -> bool:
    """Whether mariadb-backup copies the table of this .MAI file before BACKUP STAGE FLUSH, so without a lock on it.

    Seen in its log: it does so when the table is transactional **and** has page checksums; TRANSACTIONAL=1 with
    PAGE_CHECKSUM=0 is copied after FLUSH like TRANSACTIONAL=0. The options in the header's bytes 4 and 5 (big-endian)
    hold the checksum flag; bytes 12 and 13 are where the base information begins, whose byte 106 is
    `born_transactional`. A header that can't be understood counts as locked.
    """
    header = index_file.read(_OPTIONS_BYTES)
    if len(header) < _OPTIONS_BYTES or not header.startswith(_INDEX_MAGIC):
        return False
    if not int.from_bytes(header[_OPTIONS], "big") & _PAGE_CHECKSUM:
        return False
    index_file.seek(int.from_bytes(header[_BASE_POSITION], "big") + _BORN_TRANSACTIONAL)
    return index_file.read(1) == b"\x01"


def rebuilt_at(header: bytes) -> bytes:
    """When a table was last made, renamed, emptied, repaired or optimised, from the first bytes of its .MAI file.

    These are positions in Aria's log (`create_rename_lsn` and `skip_redo_lsn`, as aria_chk names them); to be compared
    only. Seen to change with each of these and with no other statement. Zeros for tables that are not transactional.
    """
    return header[_CREATED_OR_RENAMED] + header[_REDO_SKIPPED_UNTIL]


def stated_size(header: bytes) -> int | None:
    """The size in bytes that the .MAD file has by the first 128 bytes of the .MAI file.

    None for a transactional table, whose log makes up for what its files lack, and for a header not understood.
    """
    if not header.startswith(_INDEX_MAGIC) or any(header[_TRANSACTIONAL_SINCE]) or len(header) < _DATA_SIZE.stop:
        return None
    return int.from_bytes(header[_DATA_SIZE], "big")


def is_open(header: bytes) -> bool:
    """Whether the table was written since it was opened, and was not closed, when its .MAI file was like this."""
    return header.startswith(_INDEX_MAGIC) and any(header[_OPEN_COUNT])

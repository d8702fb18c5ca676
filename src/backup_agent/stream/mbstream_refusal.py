"""Why a stream is refused, and whether the stock tool would have complained too."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Refusal(StrEnum):
    """Every reason to refuse a stream.

    `stricter` marks those where `mbstream -x` (10.11.19) may end without a word: either it leaves other files than the
    engine meant, or we do not rely on what it does. For all the others it writes a line to its stderr.
    """

    meaning: str
    stricter: bool

    def __new__(cls, value: str, meaning: str, stricter: bool = False) -> Self:  # noqa: FBT001, FBT002 - a table's column
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.stricter = stricter
        return member

    MAGIC = "magic", "A record does not start with the magic bytes."
    UNKNOWN_RECORD = "unknown_record", "A record is of a type that mbstream does not know."
    PATH_TOO_LONG = "path_too_long", "A path has 512 bytes (FN_REFLEN) or more."
    CUT = "cut", "The stream ends inside a record."
    CHECKSUM = "checksum", "A payload differs from its CRC-32."
    EXISTS = "exists", "A file starts again without a removal or the rewrite flag, or a directory has its name."
    NO_DIRECTORY = "no_directory", "A file's directory can't be made: the tool makes one level only."
    OUT_OF_ORDER = "out_of_order", "A payload's offset is not where the file stands."
    # The tool compares the CRC of the new name, kept where payloads are, with that of an earlier payload: a defect that
    # DDL on MyISAM tables meets.
    CLOSE_AFTER_RENAME = "close_after_rename", "A file is closed after a rename and no payload in between."

    FLAGS = "flags", "A record has other flags than rewrite; the engine writes none, the tool ignores some.", True
    # In renames and removals the tool checks no path at all: it would leave the directory.
    PATH = "path", "A path may lie elsewhere, is not UTF-8, or has a name that can't be made or that a NUL cuts.", True
    PAYLOAD_TOO_LARGE = "payload_too_large", "A payload is larger than 1 GiB; the tool holds it in memory.", True
    OPEN_FILE = (
        "open_file",
        "An open file is removed, renamed or replaced; the tool may lose what it had written.",
        True,
    )
    RENAME = "rename", "A rename of a directory, onto one, or into one that is missing; the tool skips it.", True
    # A page-compressed .ibd file is cut where it stands when it is closed.
    SEEK = "seek", "A seek past the end, or in an .ibd file; the engine only seeks back, in Aria logs.", True
    OWN_FILE = "own_file", "A file in which the engine describes the backup is removed or renamed.", True
    CAPTURE_TOO_LARGE = "capture_too_large", "A file to be kept in memory is larger than the limit.", True
    NOT_CLOSED = "not_closed", "A file is never closed; the tool leaves it as short as it is.", True
    INFO_NOT_LAST = "info_not_last", "The stream does not end with the info file: it was cut between records.", True


class NotExtractableError(Exception):
    """The verdict on one record or on the end. `StreamParser` turns it into the error that the operator sees."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail

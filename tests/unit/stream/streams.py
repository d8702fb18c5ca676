"""Streams by what they show, with the verdict: the table that the stock tool is held against as well."""

from __future__ import annotations

from typing import NamedTuple

from backup_agent.stream.mbstream_refusal import Refusal
from tests.unit.stream.records import (
    INFO,
    REWRITE,
    closing,
    end,
    payload,
    record,
    remove,
    rename,
    seek,
    whole,
)

INFO_SIZE = 9


class Extractable(NamedTuple):
    """`files` without the info file."""

    stream: bytes
    files: dict[str, int]


class Refused(NamedTuple):
    stream: bytes
    refusal: Refusal


DEEP = "/".join(["x" * 100] * 5)[:400]

EXTRACTABLE = {
    "nothing but the info file": Extractable(closing(), {}),
    "a file in two payloads": Extractable(closing(whole("a", b"one", b"two")), {"a": 6}),
    "an empty file, which has an end only": Extractable(closing(end("a")), {"a": 0}),
    "an empty payload": Extractable(closing(whole("a", b"")), {"a": 0}),
    "interleaved files": Extractable(
        closing(payload("a", 0, b"1"), payload("b", 0, b"22"), payload("a", 1, b"3"), end("b"), end("a")),
        {"a": 2, "b": 2},
    ),
    "a file in a directory": Extractable(closing(whole("d/t.frm", b"x")), {"d/t.frm": 1}),
    "directories made level by level": Extractable(
        closing(whole("d/x", b"1"), whole("d/e/x", b"1")), {"d/x": 1, "d/e/x": 1}
    ),
    "names as MariaDB encodes them": Extractable(
        closing(whole("d@00e9/t@0020x#P#p0.new", b"x")), {"d@00e9/t@0020x#P#p0.new": 1}
    ),
    "a hidden file below a directory": Extractable(closing(whole("d/.x", b"x")), {"d/.x": 1}),
    "names that hold dots": Extractable(closing(whole("a..", b"x"), whole("d../..x", b"y")), {"a..": 1, "d../..x": 1}),
    "a name in UTF-8": Extractable(closing(whole("é", b"x")), {"é": 1}),
    "the longest name": Extractable(closing(whole("n" * 255, b"x")), {"n" * 255: 1}),
    "the rewrite flag on a file that is there": Extractable(
        closing(whole("a", b"longer"), whole("a", b"new", flags=REWRITE)), {"a": 3}
    ),
    "the rewrite flag on a file that is not": Extractable(closing(whole("a", b"new", flags=REWRITE)), {"a": 3}),
    "the rewrite flag on later payloads only": Extractable(
        closing(payload("a", 0, b"12"), payload("a", 2, b"3", flags=REWRITE), end("a")), {"a": 3}
    ),
    "an end with the rewrite flag empties": Extractable(closing(whole("a", b"12"), end("a", flags=REWRITE)), {"a": 0}),
    "a removed file": Extractable(closing(whole("a", b"12"), remove("a")), {}),
    "a file again after its removal": Extractable(closing(whole("a", b"12"), remove("a"), whole("a", b"3")), {"a": 1}),
    "the removal of what is not there": Extractable(closing(remove("d/t.MYD")), {}),
    "the removal of a directory takes all that is in it": Extractable(
        closing(whole("d/t", b"1"), whole("d/e/t", b"1"), whole("d.frm", b"1"), remove("d")), {"d.frm": 1}
    ),
    "a directory again after its removal": Extractable(
        closing(whole("d/t", b"1"), remove("./d"), whole("d/t", b"12")), {"d/t": 2}
    ),
    "a file where a removed directory was": Extractable(closing(whole("d/t", b"1"), remove("d"), end("d")), {"d": 0}),
    "a directory where a removed file was": Extractable(closing(end("d"), remove("d"), whole("d/t", b"1")), {"d/t": 1}),
    "a renamed file": Extractable(closing(whole("a", b"12"), rename("a", "b")), {"b": 2}),
    "a rename into a directory that is there": Extractable(
        closing(whole("d/x", b"1"), whole("a", b"12"), rename("a", "d/a")), {"d/x": 1, "d/a": 2}
    ),
    "a rename into a directory without files": Extractable(
        closing(whole("d/x", b"1"), remove("d/x"), whole("a", b"12"), rename("a", "d/a")), {"d/a": 2}
    ),
    "a rename onto a file replaces it": Extractable(
        closing(whole("a", b"12"), whole("b", b"345"), rename("a", "b")), {"b": 2}
    ),
    "a rename to itself": Extractable(closing(whole("a", b"12"), rename("a", "a")), {"a": 2}),
    "the rename of what is not there": Extractable(closing(rename("d/a", "e/a")), {}),
    "renames in a row": Extractable(
        closing(whole("a", b"12"), whole("b", b"3"), rename("a", "t"), rename("b", "a"), rename("t", "b")),
        {"a": 1, "b": 2},
    ),
    "an end after a rename and a payload": Extractable(
        closing(whole("a", b"12"), rename("a", "b"), whole("c", b""), end("d")), {"b": 2, "c": 0, "d": 0}
    ),
    "dot and slash before a name in a rename": Extractable(closing(whole("a", b"12"), rename("./a", "./b")), {"b": 2}),
    "dot and slash before a name in a removal": Extractable(closing(whole("a", b"12"), remove("./a")), {}),
    "a seek back, as in Aria logs": Extractable(
        closing(payload("a", 0, b"123456"), seek("a", 2), payload("a", 2, b"XX"), end("a")), {"a": 6}
    ),
    "a seek back that writes past the end": Extractable(
        closing(payload("a", 0, b"1234"), seek("a", 3), payload("a", 3, b"XYZ"), end("a")), {"a": 6}
    ),
    "a seek and nothing written": Extractable(closing(payload("a", 0, b"1234"), seek("a", 1), end("a")), {"a": 4}),
    "a seek to the start of a new file": Extractable(closing(seek("a", 0), payload("a", 0, b"1"), end("a")), {"a": 1}),
    "a seek to the end": Extractable(
        closing(payload("a", 0, b"12"), seek("a", 2), payload("a", 2, b"3"), end("a")), {"a": 3}
    ),
}

REFUSED = {
    "no bytes at all": Refused(b"", Refusal.INFO_NOT_LAST),
    "no info file": Refused(whole("a", b"1"), Refusal.INFO_NOT_LAST),
    "a file after the info file": Refused(closing() + whole("a", b"1"), Refusal.INFO_NOT_LAST),
    "a removal after the info file": Refused(closing() + remove("a"), Refusal.INFO_NOT_LAST),
    "an open file at the end": Refused(closing(payload("a", 0, b"1")), Refusal.NOT_CLOSED),
    "an open info file": Refused(payload(INFO, 0, b"1"), Refusal.NOT_CLOSED),
    "bytes after the last record": Refused(closing() + b"completed OK!\n", Refusal.MAGIC),
    "few bytes after the last record": Refused(closing() + b"OK!\n", Refusal.CUT),
    "zeros after the last record": Refused(closing() + bytes(512), Refusal.MAGIC),
    "half a header": Refused(closing() + end("abc")[:-1], Refusal.CUT),
    "half a payload": Refused(closing() + payload("abc", 0, b"123")[:-1], Refusal.CUT),
    "other magic bytes": Refused(closing(b"XBSTCK02" + end("a")[8:]), Refusal.MAGIC),
    "an unknown type": Refused(closing(record("X", "a")), Refusal.UNKNOWN_RECORD),
    "an unknown type that may be ignored": Refused(closing(record("X", "a", bytes(20), flags=1)), Refusal.FLAGS),
    "a flag the engine does not use": Refused(closing(whole("a", b"1", flags=4)), Refusal.FLAGS),
    "rewrite and another flag": Refused(closing(end("a"), whole("a", b"1", flags=3)), Refusal.FLAGS),
    "a path of 512 bytes": Refused(closing(end("x/" * 256)), Refusal.PATH_TOO_LONG),
    "a new name of 512 bytes": Refused(closing(end("a"), rename("a", "x/" * 256)), Refusal.PATH_TOO_LONG),
    "a name of 256 bytes": Refused(closing(end("n" * 256)), Refusal.PATH),
    "a new name of 256 bytes": Refused(closing(end("a"), rename("a", "n" * 256)), Refusal.PATH),
    "an empty path": Refused(closing(end("")), Refusal.PATH),
    "an empty new path": Refused(closing(end("a"), rename("a", "")), Refusal.PATH),
    "an absolute path": Refused(closing(end("/etc/passwd")), Refusal.PATH),
    "an absolute new path": Refused(closing(end("a"), rename("a", "/nonexistent/a")), Refusal.PATH),
    "a path above": Refused(closing(end("../a")), Refusal.PATH),
    "a path above by a detour": Refused(closing(whole("d/x", b"1"), end("d/../../a")), Refusal.PATH),
    "a new path above": Refused(closing(end("a"), rename("a", "../a")), Refusal.PATH),
    "a removal above": Refused(closing(remove("../a")), Refusal.PATH),
    "dot and slash before a file": Refused(closing(end("./a")), Refusal.PATH),
    "a name that starts with a dot": Refused(closing(end(".a")), Refusal.PATH),
    "a dot in the middle": Refused(closing(end("d/./a")), Refusal.PATH),
    "two slashes": Refused(closing(end("d//a")), Refusal.PATH),
    "a slash at the end": Refused(closing(end("a/")), Refusal.PATH),
    "a NUL in a path": Refused(closing(end("a\0b")), Refusal.PATH),
    "a path that is not UTF-8": Refused(closing(end(b"\xe9")), Refusal.PATH),
    "a wrong CRC": Refused(closing(payload("a", 0, b"12", crc=1), end("a")), Refusal.CHECKSUM),
    "a wrong CRC of an empty payload": Refused(closing(payload("a", 0, b"", crc=1), end("a")), Refusal.CHECKSUM),
    "a file that starts later": Refused(closing(payload("a", 5, b"12"), end("a")), Refusal.OUT_OF_ORDER),
    "a gap": Refused(closing(payload("a", 0, b"12"), payload("a", 3, b"4"), end("a")), Refusal.OUT_OF_ORDER),
    "an overlap": Refused(closing(payload("a", 0, b"12"), payload("a", 1, b"3"), end("a")), Refusal.OUT_OF_ORDER),
    "a payload twice": Refused(closing(payload("a", 0, b"1") * 2, end("a")), Refusal.OUT_OF_ORDER),
    "a file twice": Refused(closing(whole("a", b"1"), whole("a", b"1")), Refusal.EXISTS),
    "an empty file twice": Refused(closing(end("a"), end("a")), Refusal.EXISTS),
    "a seek in a file that is closed": Refused(closing(end("a"), seek("a", 0), end("a")), Refusal.EXISTS),
    "a file after a rename gave its name away": Refused(
        closing(whole("a", b"1"), rename("a", "b"), whole("b", b"1")), Refusal.EXISTS
    ),
    "a file named as a directory": Refused(closing(end("d/a"), whole("d", b"1")), Refusal.EXISTS),
    "a rewrite of a directory": Refused(closing(end("d/a"), whole("d", b"1", flags=REWRITE)), Refusal.EXISTS),
    "a file below a file": Refused(closing(end("d"), end("d/a")), Refusal.NO_DIRECTORY),
    "a file below an open file": Refused(closing(payload("d", 0, b"1"), end("d/a"), end("d")), Refusal.NO_DIRECTORY),
    "a file below a directory that was removed with its parent": Refused(
        closing(end("d/a"), end("d/e/a"), remove("d"), end("d/e/a")), Refusal.NO_DIRECTORY
    ),
    "a file two levels down at once": Refused(closing(end("d/e/a")), Refusal.NO_DIRECTORY),
    "a path of 400 bytes without its directories": Refused(closing(end(DEEP)), Refusal.NO_DIRECTORY),
    "the removal of an open file": Refused(closing(payload("a", 0, b"1"), remove("a"), end("a")), Refusal.OPEN_FILE),
    "the rename of an open file": Refused(
        closing(payload("a", 0, b"1"), rename("a", "b"), end("a")), Refusal.OPEN_FILE
    ),
    "a rename onto an open file": Refused(
        closing(end("a"), payload("b", 0, b"1"), rename("a", "b"), payload("b", 1, b"2"), end("b")), Refusal.OPEN_FILE
    ),
    "the removal of a directory with an open file": Refused(
        closing(payload("d/a", 0, b"1"), remove("d"), end("d/a")), Refusal.OPEN_FILE
    ),
    "the removal of an open file by another spelling": Refused(
        closing(payload("a", 0, b"1"), remove("./a"), end("a")), Refusal.OPEN_FILE
    ),
    "an end after a rename": Refused(
        closing(whole("a", b"12"), rename("a", "b"), end("c")), Refusal.CLOSE_AFTER_RENAME
    ),
    "an end after a rename of nothing": Refused(closing(rename("a", "b"), end("c")), Refusal.CLOSE_AFTER_RENAME),
    "an end after a rename and a removal": Refused(
        closing(end("z"), whole("a", b"12"), rename("a", "b"), remove("z"), end("c")), Refusal.CLOSE_AFTER_RENAME
    ),
    "an end after a rename and a seek": Refused(
        closing(whole("a", b"12"), rename("a", "b"), seek("c", 0), end("c")), Refusal.CLOSE_AFTER_RENAME
    ),
    "the end of an open file after a rename": Refused(
        closing(payload("o", 0, b"1"), whole("a", b"12"), rename("a", "b"), end("o")), Refusal.CLOSE_AFTER_RENAME
    ),
    "a rename into a missing directory": Refused(closing(whole("a", b"1"), rename("a", "d/a")), Refusal.RENAME),
    "a rename into a removed directory": Refused(
        closing(end("d/x"), whole("a", b"1"), remove("d"), rename("a", "d/a")), Refusal.RENAME
    ),
    "a rename onto a directory": Refused(closing(end("d/a"), end("b"), rename("b", "d")), Refusal.RENAME),
    "the rename of a directory": Refused(closing(end("d/a"), rename("d", "e")), Refusal.RENAME),
    "a seek forward": Refused(
        closing(payload("a", 0, b"1"), seek("a", 2), payload("a", 2, b"3"), end("a")), Refusal.SEEK
    ),
    "a seek in a tablespace": Refused(
        closing(payload("d/t.ibd", 0, b"12"), seek("d/t.ibd", 1), payload("d/t.ibd", 1, b"3"), end("d/t.ibd")),
        Refusal.SEEK,
    ),
    "the removal of the info file": Refused(closing() + remove(INFO) + closing(), Refusal.OWN_FILE),
    "a rename onto the info file": Refused(closing() + end("a") + rename("a", INFO) + closing(), Refusal.OWN_FILE),
    "the rename of the info file": Refused(closing() + rename(INFO, "a") + closing(), Refusal.OWN_FILE),
    "a payload of more than a gibibyte": Refused(
        closing(record("P", "a", ((1 << 30) + 1).to_bytes(8, "little") + bytes(12))), Refusal.PAYLOAD_TOO_LARGE
    ),
}

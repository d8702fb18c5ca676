"""Which tables of a stream are doubted: after what the engine repeats of the DDL it met, and by their definitions."""

from __future__ import annotations

import struct

import pytest

from backup_agent.stream.mbstream import StreamParser
from backup_agent.stream.tables import Doubt, split_path
from tests.unit.stream.records import REWRITE, closing, end, payload, remove, rename, whole

MYISAM, MERGE, INNODB, ARCHIVE, CSV, PARTITIONED, ARIA, UNKNOWN = 9, 10, 12, 16, 17, 20, 42, 200


def frm(engine: int, partition_engine: int = 0) -> bytes:
    head = bytearray(100)
    head[:4] = bytes([0xFE, 0x01, 10, engine])
    head[61] = partition_engine
    return bytes(head)


def par(partitions: int) -> bytes:
    return struct.pack("<III", 7, 0, partitions) + bytes(20)


def again(path: str, data: bytes) -> bytes:
    """A file copied once more, over the one that is there."""
    return payload(path, 0, data, flags=REWRITE) + end(path)


def table(name: str, engine: int, *extensions: str) -> bytes:
    return b"".join(
        [*(whole(f"{name}.{extension}", b"data") for extension in extensions), whole(f"{name}.frm", frm(engine))]
    )


def doubted(*records: bytes, newest_tablespace: int | None = None) -> list[tuple[str, str]]:
    return [(doubt.table, doubt.why) for doubt in doubts(*records, newest_tablespace=newest_tablespace)]


def doubts(*records: bytes, newest_tablespace: int | None = None) -> list[Doubt]:
    parser = StreamParser()
    parser.feed(closing(*records))
    parser.finish()
    return parser.doubts(newest_tablespace)


def ibd(space: int) -> bytes:
    """The beginning of an InnoDB file."""
    return bytes(34) + struct.pack(">I", space) + bytes(100)


T = table("d/t", MYISAM, "MYD", "MYI")
U = table("d/u", MYISAM, "MYD", "MYI")
NEXT = whole("z", b"1")
"""A payload: the tool closes no file right after a rename."""

WHOLE = {
    "MyISAM": T,
    "Aria": table("d/t", ARIA, "MAD", "MAI"),
    "CSV with its meta file": table("d/t", CSV, "CSV", "CSM"),
    "MERGE": table("d/t", MERGE, "MRG"),
    "InnoDB": table("d/t", INNODB, "ibd"),
    "InnoDB in the system tablespace": table("d/t", INNODB),
    "InnoDB's changes": table("d/t", INNODB, "ibd.delta", "ibd.meta"),
    "ARCHIVE, which has no definition": whole("d/t.ARZ", b"1"),
    "an engine not known here": table("d/t", UNKNOWN, "MYD"),
    "a view": whole("d/v.frm", b"TYPE=VIEW\n" + bytes(80)),
    "partitions": whole("d/t#P#a.MYD", b"1")
    + whole("d/t#P#a.MYI", b"1")
    + whole("d/t#P#b#SP#c.MYD", b"1")
    + whole("d/t#P#b#SP#c.MYI", b"1")
    + whole("d/t.frm", frm(PARTITIONED, MYISAM))
    + whole("d/t.par", par(2)),
    "partitions of InnoDB": whole("d/t#P#a.ibd", b"1")
    + whole("d/t.frm", frm(PARTITIONED, INNODB))
    + whole("d/t.par", par(1)),
    "partitions of an engine not known here": whole("d/t.frm", frm(PARTITIONED, UNKNOWN)) + whole("d/t.par", par(1)),
    "an ALTER's own files": whole("d/#sql-alter-1-2.MYD", b"1"),
    "files of no database": whole("t.MYD", b"1"),
}

NOT_WHOLE = {
    "a definition without data": (table("d/t", MYISAM, "MYI"), "it has a definition, but no MYD file"),
    "Aria without an index": (table("d/t", ARIA, "MAD"), "it has a definition, but no MAI file"),
    "data without a definition": (
        whole("d/t.MYD", b"1"),
        "it has MYD files that its definition does not call for",
    ),
    "data of the former engine": (
        table("d/t", MYISAM, "MYD", "MYI", "MAI", "MAD"),
        "it has MAD, MAI files that its definition does not call for",
    ),
    "data of a table that is InnoDB's now": (
        table("d/t", INNODB, "ibd", "MYI"),
        "it has MYI files that its definition does not call for",
    ),
    "a partition too few": (
        whole("d/t#P#a.ARZ", b"1") + whole("d/t.frm", frm(PARTITIONED, ARCHIVE)) + whole("d/t.par", par(2)),
        "it has 2 partitions, but 1 ARZ files",
    ),
    "a partition too many": (
        whole("d/t#P#a.CSV", b"1")
        + whole("d/t#P#b.CSV", b"1")
        + whole("d/t.frm", frm(PARTITIONED, CSV))
        + whole("d/t.par", par(1)),
        "it has 1 partitions, but 2 CSV files",
    ),
    "partitions of nothing": (
        whole("d/t#P#a.CSV", b"1") + whole("d/t.frm", frm(PARTITIONED, CSV)),
        "it is partitioned, but has no .par file",
    ),
    "partitions of the former engine": (
        whole("d/t#P#a.MAI", b"1") + whole("d/t.frm", frm(PARTITIONED, INNODB)) + whole("d/t.par", par(1)),
        "it has MAI files that its definition does not call for",
    ),
    "a table beside its partitions": (
        whole("d/t#P#a.CSV", b"1")
        + whole("d/t.CSV", b"1")
        + whole("d/t.frm", frm(PARTITIONED, CSV))
        + whole("d/t.par", par(1)),
        "it has CSV files that its definition does not call for",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_tables_are_not_doubted(name: str) -> None:
    assert doubts(WHOLE[name]) == []


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_a_table_whose_files_do_not_fit_its_definition_is_doubted(name: str) -> None:
    records, why = NOT_WHOLE[name]
    assert doubted(records) == [("d/t", why)]


def test_a_renamed_file_is_doubted_because_the_rename_may_have_come_before_the_copy() -> None:
    assert doubted(T, rename("d/t.MYD", "d/w.MYD"), rename("d/t.MYI", "d/w.MYI"), NEXT) == [
        ("d/t", "d/t.MYI is renamed, perhaps for the second time"),
        ("d/t", "it has a definition, but no MYD, MYI file"),
        ("d/w", "it has MYD, MYI files that its definition does not call for"),
    ]


def test_tables_that_were_exchanged_are_doubted_although_each_is_whole() -> None:
    swap = [
        rename(f"d/{old}.{extension}", f"d/{new}.{extension}")
        for old, new in (("t", "s"), ("u", "t"), ("s", "u"))
        for extension in ("MYD", "MYI")
    ]
    assert {name for name, _ in doubted(T, U, *swap, NEXT)} == {"d/t", "d/u", "d/s"}


def test_a_rename_of_what_was_not_copied_is_no_doubt() -> None:
    assert doubts(T, rename("d/old.MYD", "d/t.MYD"), NEXT) == []


def test_a_definition_that_is_removed_after_it_was_copied_is_doubted_because_the_table_is_there() -> None:
    gone = [remove(f"d/t.{extension}") for extension in ("MYD", "MYI", "frm")]
    assert doubted(T, *gone) == [("d/t", "d/t.frm is removed after it was copied")]


def test_so_is_one_that_goes_with_its_database() -> None:
    assert doubted(T, remove("d")) == [("d/t", "d/t.frm is removed after it was copied")]


def test_a_table_that_is_removed_and_copied_again_is_no_doubt() -> None:
    gone = [remove(f"d/t.{extension}") for extension in ("MYD", "MYI", "frm")]
    anew = [again("d/t.MYD", b"new"), again("d/t.MYI", b"new"), again("d/t.frm", frm(MYISAM))]
    assert doubts(T, *gone, *anew) == []


def test_a_dropped_table_is_no_doubt() -> None:
    copied = whole("d/t.MYD", b"1") + whole("d/t.MYI", b"1")
    assert doubts(copied, remove("d/t.MYD"), remove("d/t.MYI"), remove("d/t.frm")) == []


def test_a_removed_archive_is_doubted_because_it_has_no_definition_to_tell() -> None:
    assert doubted(whole("d/t.ARZ", b"1"), remove("d/t.ARZ")) == [("d/t", "d/t.ARZ is removed after it was copied")]


def test_innodb_files_that_the_engine_copies_again_are_doubted() -> None:
    partitioned = whole("d/t#P#a.ibd", b"1") + whole("d/t.frm", frm(PARTITIONED, INNODB)) + whole("d/t.par", par(1))
    assert doubted(partitioned, again("d/t#P#a.ibd", b"2")) == [
        ("d/t", "d/t#P#a.ibd is copied outside of InnoDB's log")
    ]


def test_the_removal_of_all_partitions_by_a_pattern_removes_nothing_and_the_rest_is_doubted() -> None:
    """The engine writes `t#P#*`; mbstream takes the star for a letter."""
    parts = whole("d/t#P#a.MYD", b"1") + whole("d/t#P#a.MYI", b"1")
    assert doubted(parts, remove("d/t#P#*"), remove("d/t.frm")) == [
        ("d/t", "it has MYD, MYI files that its definition does not call for")
    ]


def test_a_doubt_says_what_to_compare_with_the_server() -> None:
    (doubt,) = doubts(table("d/t", MYISAM, "MYD"))
    assert not doubt.by_ddl
    assert doubt.files == {"t.MYD"}
    assert doubt.definition is not None


def test_the_last_copy_of_a_definition_counts() -> None:
    assert doubts(table("d/t", MYISAM, "MAD", "MAI"), again("d/t.frm", frm(ARIA))) == []


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("shop/orders.MYD", ("shop/orders", "", "MYD")),
        ("shop/orders#P#p0.MYI", ("shop/orders", "p0", "MYI")),
        ("shop/a@0023b#P#p0#SP#p0s1.ibd.delta", ("shop/a@0023b", "p0#SP#p0s1", "ibd.delta")),
        ("ibdata1", ("ibdata1", "", "")),
    ],
)
def test_paths_are_split_into_table_partition_and_extension(path: str, parts: tuple[str, str, str]) -> None:
    assert split_path(path) == parts


SWAP = whole("d/a.ren", b"d/b") + whole("d/b.ren", b"d/a")
NEWEST = 20


def test_innodb_tables_that_took_each_others_names_are_doubted_in_an_incremental() -> None:
    assert doubted(SWAP, newest_tablespace=NEWEST) == [
        ("d/a", "it was renamed to d/b, which was renamed as well"),
        ("d/b", "it was renamed to d/a, which was renamed as well"),
    ]


def test_a_partition_exchanged_for_a_table_is_doubted_in_an_incremental() -> None:
    exchange = whole("d/p#P#p1.ren", b"d/x") + whole("d/x.ren", b"d/p#P#p1")
    assert {name for name, _ in doubted(exchange, newest_tablespace=NEWEST)} == {"d/p", "d/x"}


def test_innodb_tables_renamed_to_free_names_are_no_doubt() -> None:
    assert doubts(whole("d/a.ren", b"d/b") + whole("d/c.ren", b"e/a"), newest_tablespace=NEWEST) == []


def test_an_innodb_table_that_the_parent_has_and_that_comes_as_new_is_doubted() -> None:
    assert doubted(whole("d/t.new", ibd(NEWEST)), newest_tablespace=NEWEST) == [
        ("d/t", "it was renamed before the engine had opened it")
    ]


@pytest.mark.parametrize("space", [NEWEST + 1, 0], ids=["made since", "first page not written yet"])
def test_an_innodb_table_made_since_the_parent_is_no_doubt(space: int) -> None:
    assert doubts(whole("d/t.new", ibd(space)), newest_tablespace=NEWEST) == []


def test_renames_of_innodb_tables_do_not_harm_a_full() -> None:
    assert doubts(SWAP + whole("d/t.new", ibd(3))) == []

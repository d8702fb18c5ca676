"""What a doubt about a table leads to: another attempt, or, when the server's own table is like that, a warning."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backup_agent.domain.manifest import File
from backup_agent.errors import ErrorCode, TakeAgainError
from backup_agent.instance.table_files import TableFile
from backup_agent.operations.tables import Locked, changes, check_tables, torn, written
from backup_agent.stream.mbstream_tree import Head
from backup_agent.stream.tables import Doubt

DEFINITION = b"the definition"


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    """A server's with a table that lost its MYD file."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/t.frm").write_bytes(DEFINITION)
    (tmp_path / "d/t.MYI").touch()
    (tmp_path / "d/tt.MYD").touch()
    return tmp_path


def lost(**fields: object) -> Doubt:
    values: dict[str, object] = {"files": frozenset({"t.MYI"}), "definition": zlib.crc32(DEFINITION), **fields}
    return Doubt("d/t", "it has a definition, but no MYD file", by_ddl=False, **values)  # type: ignore[arg-type]  # the fields' own types


def test_no_doubt_is_no_error(datadir: Path) -> None:
    check_tables([], datadir)


def test_a_table_that_is_like_that_on_the_server_is_backed_up_with_a_warning(datadir: Path) -> None:
    with capture_logs() as logs:
        check_tables([lost()], datadir)
    assert [(line["log_level"], line["table"]) for line in logs] == [("warning", "d/t")]


def test_files_without_a_definition_that_the_server_has_too_are_backed_up_with_a_warning(datadir: Path) -> None:
    (datadir / "d/t.frm").unlink()
    with capture_logs() as logs:
        check_tables([lost(definition=None)], datadir)
    assert [line["log_level"] for line in logs] == ["warning"]


@pytest.mark.parametrize(
    "doubt",
    [
        lost(files=frozenset({"t.MYD"})),
        lost(files=frozenset()),
        lost(definition=1),
        lost(definition=None),
        Doubt("d/t", "d/t.MYD is renamed", by_ddl=True),
        Doubt("gone/t", "it has a definition, but no MYD file", by_ddl=False, definition=1),
    ],
    ids=["other files", "no files", "another definition", "no definition", "by DDL", "a dropped database"],
)
def test_a_table_that_is_not_like_that_on_the_server_fails_the_backup(datadir: Path, doubt: Doubt) -> None:
    with pytest.raises(TakeAgainError) as caught:
        check_tables([doubt], datadir)
    assert caught.value.code is ErrorCode.DDL_DURING_BACKUP
    assert f"{doubt.table}: {doubt.why}" in caught.value.message


def test_the_message_names_a_few_tables_and_counts_the_others(datadir: Path) -> None:
    with pytest.raises(TakeAgainError) as caught:
        check_tables([Doubt(f"d/t{number}", "it is odd", by_ddl=True) for number in range(9)], datadir)
    assert caught.value.message.endswith("d/t0: it is odd; d/t1: it is odd; d/t2: it is odd; and 6 more")


def aria_header(created: int, *, skipped: int = 0, flushed: int = 0) -> bytes:
    """The beginning of a .MAI file: three positions in Aria's log, 7 bytes each."""
    return bytes(28) + b"".join(lsn.to_bytes(7, "big") for lsn in (created, flushed, skipped)) + bytes(15)


def marks(header: bytes) -> bytes:
    return header[28:35] + header[42:49]


def changed(path: str, size: int, now: TableFile | None, head: bytes = b"") -> list[tuple[str, str]]:
    files = [File(path=path, size=size)]
    there = {path: now} if now else {}
    return [(doubt.table, doubt.why) for doubt in changes(files, {path: Head(head, 0)}, there)]


@pytest.mark.parametrize("extension", ["MYD", "MAD", "CSV", "ARZ"])
def test_a_table_that_is_smaller_than_its_copy_was_emptied_meanwhile(extension: str) -> None:
    path = f"d/t.{extension}"
    assert changed(path, 100, TableFile(99, 0)) == [("d/t", f"{path} has shrunk since it was copied")]


@pytest.mark.parametrize("size", [100, 101])
def test_a_table_that_has_grown_since_is_no_doubt(size: int) -> None:
    assert changed("d/t.MYD", 100, TableFile(size, 0)) == []


def test_a_table_that_was_dropped_since_is_no_doubt() -> None:
    assert changed("d/t.MYD", 100, None) == []


def test_an_aria_table_that_was_rebuilt_since_is_doubted() -> None:
    head = aria_header(7, skipped=7)
    for now in (aria_header(8, skipped=8), aria_header(7, skipped=9)):
        assert changed("d/t.MAI", 64, TableFile(64, 0, marks(now)), head) == [
            ("d/t", "it was rebuilt after it was copied")
        ]


def test_an_aria_table_whose_rows_changed_since_is_no_doubt() -> None:
    now = aria_header(7, skipped=7, flushed=99)
    assert changed("d/t.MAI", 64, TableFile(64, 0, marks(now)), aria_header(7, skipped=7)) == []


MYISAM_MAGIC, ARIA_MAGIC = b"\xfe\xfe\x07\x01", b"\xfe\xfe\x09\x03"


def index_header(magic: bytes, at: int, data_size: int, *, created: int = 0) -> bytes:
    """The beginning of an index file which says, at byte `at`, how large the data file is."""
    header = bytearray(128)
    header[:4] = magic
    header[28:35] = created.to_bytes(7, "big")
    header[at : at + 8] = data_size.to_bytes(8, "big")
    return bytes(header)


MYI, MAI = index_header(MYISAM_MAGIC, 68, 100), index_header(ARIA_MAGIC, 97, 100)
OLD, NEW = TableFile(100, 1), TableFile(100, 2)


def torn_tables(kind: str, header: bytes, data_size: int, before: TableFile, after: TableFile) -> list[str]:
    index, data = f"d/t.{kind}I", f"d/t.{kind}D"
    files = [File(path=index, size=128), File(path=data, size=data_size)]
    return [
        doubt.why
        for doubt in torn(files, {index: Head(header, 0)}, {index: before, data: OLD}, {index: after, data: OLD})
    ]


@pytest.mark.parametrize(("kind", "header"), [("MY", MYI), ("MA", MAI)])
def test_a_table_whose_index_knows_another_size_of_its_data_was_copied_while_it_was_written(
    kind: str, header: bytes
) -> None:
    for size in (99, 101):
        assert torn_tables(kind, header, size, OLD, NEW) == [f"d/t.{kind}D was copied while it was written"]
    assert torn_tables(kind, header, 100, OLD, NEW) == []


def test_a_table_that_nobody_wrote_is_copied_as_it_is() -> None:
    assert torn_tables("MY", MYI, 99, OLD, OLD) == []


def test_a_transactional_aria_table_is_made_whole_by_its_log() -> None:
    assert torn_tables("MA", index_header(ARIA_MAGIC, 97, 100, created=7), 99, OLD, NEW) == []


@pytest.mark.parametrize("header", [b"", b"\xfe\xfe\x07", b"\xfe\xfe\x01" + bytes(125)])
def test_a_header_that_is_not_understood_is_no_doubt(header: bytes) -> None:
    assert torn_tables("MY", header, 99, OLD, NEW) == []


SECOND = 1_000_000_000
LOCKED_AT = 1_000 * SECOND
CLOSED_MYI, OPEN_MYI = MYI, MYI[:24] + b"\x00\x01" + MYI[26:]
CLOSED_MAI, OPEN_MAI = MAI, MAI[:24] + b"\x00\x01" + MAI[26:]
LOGGED_MAI = index_header(ARIA_MAGIC, 97, 100, created=7)


def written_tables(path: str, head: bytes, modified: int, *, in_use: frozenset[str] = frozenset()) -> list[str]:
    """Of a table one of whose files, which `head` begins or indexes, was last changed at `modified`."""
    index = f"{path[:-1]}I"
    found = written(
        [File(path=path, size=100)],
        {index: Head(head, 0)},
        {path: TableFile(100, modified)},
        Locked(LOCKED_AT, in_use),
    )
    return [doubt.table for doubt in found]


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("d/t.MYD", CLOSED_MYI),
        ("d/t.MYI", CLOSED_MYI),
        ("d/t.MAD", CLOSED_MAI),
        ("d/t.MAI", CLOSED_MAI),
        ("d/t#P#p0.MYI", CLOSED_MYI),
        ("d/t.CSV", b""),
        ("d/t.ARZ", b""),
    ],
)
def test_a_table_that_changed_after_its_writers_were_locked_out_was_copied_amid_a_statement(
    path: str, head: bytes
) -> None:
    assert written_tables(path, head, LOCKED_AT + 1) == ["d/t"]
    assert written_tables(path, head, LOCKED_AT - 1) == []


def test_a_table_that_the_engine_copies_later_may_change_until_then() -> None:
    assert written_tables("d/t.MYI", OPEN_MYI, LOCKED_AT + 1, in_use=frozenset({"d/t"})) == []
    assert written_tables("mysql/general_log.CSV", b"", LOCKED_AT + 1) == []


def test_what_a_transactional_aria_table_lacks_is_in_its_log() -> None:
    for path in ("d/t.MAD", "d/t.MAI"):
        assert written_tables(path, LOGGED_MAI, LOCKED_AT + 1) == []


@pytest.mark.parametrize(("path", "head"), [("d/t.MYI", OPEN_MYI), ("d/t.MAI", OPEN_MAI)])
def test_a_table_that_stayed_open_was_in_use_and_is_doubted_when_it_changed_shortly_before(
    path: str, head: bytes
) -> None:
    assert written_tables(path, head, LOCKED_AT - SECOND // 2) == ["d/t"]
    assert written_tables(path, head, LOCKED_AT - 2 * SECOND) == []  # others only read it


def test_a_file_that_is_gone_is_for_others_to_judge() -> None:
    assert written([File(path="d/t.MYD", size=1)], {}, {}, Locked(LOCKED_AT, frozenset())) == []


RENAMED = Doubt("d/t", "it was renamed before the engine had opened it", by_ddl=True, unless_settled=True)


def test_a_table_that_has_had_its_name_since_before_the_parent_is_no_doubt(datadir: Path) -> None:
    check_tables([RENAMED], datadir, datetime.now(UTC) + timedelta(seconds=1))


@pytest.mark.parametrize("table", ["d/t", "d/gone"])
def test_a_table_that_got_its_name_after_the_parent_was_begun_fails_the_backup(datadir: Path, table: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    (datadir / "d/t.frm").rename(datadir / "d/other.frm")
    (datadir / "d/other.frm").rename(datadir / "d/t.frm")
    with pytest.raises(TakeAgainError, match="it was renamed before the engine had opened it"):
        check_tables([replace(RENAMED, table=table)], datadir, before)

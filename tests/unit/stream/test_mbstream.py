"""What the parser makes of streams: the files of those that can be extracted, the reason for those that can't."""

from __future__ import annotations

import pytest

from backup_agent.domain.manifest import File
from backup_agent.errors import ErrorCode, TakeAgainError
from backup_agent.stream.mbstream import StreamParser
from backup_agent.stream.mbstream_refusal import NotExtractableError, Refusal
from tests.unit.stream.records import INFO, REWRITE, closing, end, payload, remove, rename, seek, whole
from tests.unit.stream.streams import EXTRACTABLE, INFO_SIZE, REFUSED


def parse(stream: bytes) -> dict[str, int]:
    parser = StreamParser()
    parser.feed(stream)
    return {file.path: file.size for file in parser.finish()}


@pytest.mark.parametrize("name", EXTRACTABLE)
def test_an_extractable_stream_gives_its_files(name: str) -> None:
    assert parse(EXTRACTABLE[name].stream) == {**EXTRACTABLE[name].files, INFO: INFO_SIZE}


@pytest.mark.parametrize("name", REFUSED)
def test_a_stream_is_refused(name: str) -> None:
    with pytest.raises(TakeAgainError) as caught:
        parse(REFUSED[name].stream)
    assert caught.value.code is ErrorCode.STREAM_NOT_EXTRACTABLE
    cause = caught.value.__cause__
    assert isinstance(cause, NotExtractableError)
    assert cause.refusal is REFUSED[name].refusal


def test_every_reason_to_refuse_has_an_example_and_a_meaning() -> None:
    elsewhere = {Refusal.CAPTURE_TOO_LARGE}
    assert {example.refusal for example in REFUSED.values()} == set(Refusal) - elsewhere
    assert all(refusal.meaning.endswith(".") for refusal in Refusal)


def test_the_error_says_what_is_wrong_where_and_what_to_do() -> None:
    stream = whole("d/a", b"12") + payload("d/b", 0, b"12", crc=7) + end("d/b")
    with pytest.raises(TakeAgainError) as caught:
        parse(stream)
    assert caught.value.message == (
        "the stream can't be extracted: a payload of 'd/b' has CRC-32 4f5344cd instead of 00000007 "
        f"(record at byte {len(whole('d/a', b'12'))})"
    )
    assert "DDL" in caught.value.hint


def test_files_come_sorted_by_path() -> None:
    parser = StreamParser()
    parser.feed(closing(whole("b", b"1"), whole("a/x", b"22"), end("a.frm")))
    assert parser.finish() == (
        File(path="a.frm", size=0),
        File(path="a/x", size=2),
        File(path="b", size=1),
        File(path=INFO, size=INFO_SIZE),
    )


def test_the_info_file_of_series_11_ends_a_stream_too() -> None:
    assert parse(whole("mariadb_backup_info", b"x")) == {"mariadb_backup_info": 1}


def test_the_caller_may_name_another_info_file() -> None:
    parser = StreamParser(info_files=frozenset({"last"}))
    parser.feed(whole(INFO, b"x") + end("last"))
    assert [file.path for file in parser.finish()] == ["last", INFO]


def test_after_an_error_every_call_raises_it_again() -> None:
    parser = StreamParser()
    with pytest.raises(TakeAgainError, match="starts a second time"):
        parser.feed(end("a") + end("a"))
    with pytest.raises(TakeAgainError, match="starts a second time"):
        parser.feed(closing())
    with pytest.raises(TakeAgainError, match="starts a second time"):
        parser.finish()


def test_files_asked_for_are_captured() -> None:
    parser = StreamParser(capture=frozenset({"xtrabackup_slave_info", "absent"}))
    parser.feed(closing(whole("xtrabackup_slave_info", b"CHANGE ", b"MASTER"), whole("other", b"x")))
    parser.finish()
    assert dict(parser.captured) == {"xtrabackup_slave_info": b"CHANGE MASTER"}


def test_a_captured_file_is_what_the_last_rewrite_and_seeks_leave() -> None:
    parser = StreamParser(capture=frozenset({"a", "b"}))
    parser.feed(
        closing(
            whole("a", b"old one"),
            whole("a", b"new", flags=REWRITE),
            payload("b", 0, b"123456"),
            seek("b", 2),
            payload("b", 2, b"XX"),
            end("b"),
        )
    )
    assert dict(parser.captured) == {"a": b"new", "b": b"12XX56"}


@pytest.mark.parametrize("touch", [remove("a"), rename("a", "b"), whole("b", b"") + rename("b", "a")])
def test_a_captured_file_may_not_be_removed_or_renamed(touch: bytes) -> None:
    parser = StreamParser(capture=frozenset({"a"}))
    with pytest.raises(TakeAgainError, match="'a' is "):
        parser.feed(whole("a", b"x") + touch)


def test_a_captured_file_beyond_the_limit_is_refused_rather_than_cut() -> None:
    parser = StreamParser(capture=frozenset({"a"}), capture_limit=4)
    parser.feed(payload("a", 0, b"1234"))
    with pytest.raises(TakeAgainError, match="'a' is larger than the 4 bytes"):
        parser.feed(payload("a", 4, b"5"))


def test_the_fed_buffer_may_be_reused_at_once() -> None:
    stream = closing(whole("a", bytes(range(256)) * 8), whole("b", b"12"))
    buffer = bytearray(16)
    parser = StreamParser(capture=frozenset({"b"}))
    for at in range(0, len(stream), len(buffer)):
        piece = stream[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        parser.feed(memoryview(buffer)[: len(piece)])
    buffer.clear()
    assert {file.path: file.size for file in parser.finish()} == {"a": 2048, "b": 2, INFO: INFO_SIZE}
    assert parser.captured["b"] == b"12"

"""What holds for every split, every cut and every flipped bit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_agent.errors import TakeAgainError
from backup_agent.stream.mbstream import StreamParser
from tests.unit.stream.records import INFO, REWRITE, boundaries, closing, end, payload, remove, rename, seek, whole
from tests.unit.stream.streams import EXTRACTABLE, REFUSED

SMALL = closing(
    whole("d/t.frm", b"12", b"345"),
    end("d/empty"),
    payload("aria", 0, b"123456"),
    seek("aria", 2),
    payload("aria", 2, b"X"),
    end("aria"),
    whole("gone", b"1"),
    remove("gone"),
    rename("d/t.frm", "d/u.frm"),
    whole("d/u.frm", b"new", flags=REWRITE),
)
STREAMS = {
    **{name: example.stream for name, example in EXTRACTABLE.items()},
    **{name: example.stream for name, example in REFUSED.items()},
}
KEPT = frozenset({"aria", INFO})
Outcome = tuple[dict[str, int], dict[str, bytes]] | str


def outcome(*pieces: bytes) -> Outcome:
    parser = StreamParser(capture=KEPT)
    try:
        for piece in pieces:
            parser.feed(piece)
        files = {file.path: file.size for file in parser.finish()}
    except TakeAgainError as error:
        return error.message
    return files, dict(parser.captured)


def accepted(stream: bytes) -> dict[str, int] | None:
    result = outcome(stream)
    return None if isinstance(result, str) else result[0]


@given(
    stream=st.sampled_from([SMALL, *STREAMS.values()]),
    data=st.data(),
)
def test_any_split_into_pieces_gives_the_same_outcome(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    pieces = [stream[start:stop] for start, stop in pairwise([0, *cuts, len(stream)])]
    assert outcome(*pieces) == outcome(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_fed_byte_by_byte_gives_the_same_outcome(name: str) -> None:
    stream = STREAMS[name]
    assert outcome(*(stream[at : at + 1] for at in range(len(stream)))) == outcome(stream)


@pytest.mark.parametrize("name", EXTRACTABLE)
def test_a_stream_cut_anywhere_is_refused(name: str) -> None:
    stream = EXTRACTABLE[name].stream
    assert [at for at in range(len(stream)) if accepted(stream[:at]) is not None] == []


@given(st.binary(max_size=64))
def test_nothing_may_follow_the_end(more: bytes) -> None:
    if more:
        assert accepted(SMALL + more) is None


def test_any_flipped_bit_outside_of_flags_types_and_paths_is_refused() -> None:
    whole_set = accepted(SMALL)
    assert whole_set is not None
    flags, kinds, paths = unprotected(SMALL)
    for at in range(len(SMALL)):
        for bit in range(8):
            flipped = bytearray(SMALL)
            flipped[at] ^= 1 << bit
            files = accepted(bytes(flipped))
            assert files is None or at in kinds | paths or (at in flags and files == whole_set), (at, bit)


def test_paths_and_types_are_not_protected_by_the_format() -> None:
    """Nothing in the stream tells; the engine is their source, and from there on the raw digest covers them."""
    stream = closing(end("d/empty"))
    renamed = stream.replace(b"d/empty", b"d/emptx")
    vanished = stream.replace(b"\0E\7", b"\0D\7")
    assert accepted(renamed) == {"d/emptx": 0, INFO: 9}
    assert accepted(vanished) == {INFO: 9}


def unprotected(stream: bytes) -> tuple[set[int], set[int], set[int]]:
    """Positions of the flags, of the types, and of the bytes of paths."""
    starts = boundaries(stream)
    paths: set[int] = set()
    for at in starts:
        stop = at + 14 + stream[at + 10]
        paths |= set(range(at + 14, stop))
        if stream[at + 9] == ord("R"):
            paths |= set(range(stop + 4, stop + 4 + stream[stop]))
    return {at + 8 for at in starts}, {at + 9 for at in starts}, paths

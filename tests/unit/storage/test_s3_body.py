"""A body as libraries read it must be the file they take it for."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_agent.storage.s3_body import Body

STEPS = st.lists(
    st.tuples(st.just("read"), st.integers(-1, 12))
    | st.tuples(st.just("seek"), st.integers(-4, 12), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]))
    | st.tuples(st.just("tell")),
    max_size=12,
)


def outcome(file: Body | io.BytesIO, step: tuple[object, ...]) -> object:
    name, *arguments = step
    try:
        result = getattr(file, str(name))(*arguments)
    except ValueError:
        return ValueError
    return bytes(result) if name == "read" else result


@given(data=st.binary(max_size=10), steps=STEPS, kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_it_reads_like_a_file_in_memory(
    data: bytes, steps: list[tuple[object, ...]], kind: type[bytes | bytearray | memoryview]
) -> None:
    body, file = Body(kind(data)), io.BytesIO(data)

    for step in steps:
        assert outcome(body, step) == outcome(file, step)


@pytest.mark.parametrize("data", [b"", b"some"])
def test_it_tells_its_size_and_is_a_body_even_when_empty(data: bytes) -> None:
    assert len(Body(data)) == len(data)
    assert Body(data)

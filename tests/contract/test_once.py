"""What is written once is not written over: chunks and manifests, which nobody else has any business to put there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.storage.s3 import S3Store
from tests.contract.line import KEY, SMALL, Line, failure
from tests.servers.faultproxy import Exchange, answer_lost, answered, passed
from tests.servers.s3 import S3Server

OTHER = b"something else"


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.server)])
def careful(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that can tell what is there already."""
    if request.param == "directory":
        directory = LocalStore(tmp_path / "root", create=True)
        directory.prepare("box")
        yield directory
        return
    server: S3Server = request.getfixturevalue("s3")
    with closing(S3Store(server.new_bucket(), "", create=True, options=server.options())) as bucket:
        bucket.prepare("box")
        yield bucket


@pytest.mark.parametrize("other", [OTHER, SMALL + b"x", SMALL[:-1] + b"y", b""], ids=["other", "more", "alike", "none"])
def test_an_object_that_somebody_else_put_there_is_noticed_and_left_alone(careful: Store, other: bytes) -> None:
    careful.put(KEY, other)

    error = failure(lambda: careful.put(KEY, SMALL, once=True))

    assert error.code is ErrorCode.OBJECT_EXISTS
    assert not isinstance(error, TransientStoreError)
    assert f"{careful.url}/{KEY}" in error.message
    assert careful.get(KEY, limit=2 * len(SMALL)) == other
    assert [entry.key for entry in careful.list("")] == [KEY]


def test_the_same_may_be_written_again(careful: Store) -> None:
    careful.put(KEY, SMALL, once=True)
    careful.put(KEY, SMALL, once=True)
    careful.put(KEY, bytearray(SMALL), once=True)

    assert careful.get(KEY, limit=2 * len(SMALL)) == SMALL


def test_what_was_deleted_may_be_written_anew(careful: Store) -> None:
    careful.put(KEY, OTHER, once=True)
    careful.delete(KEY)

    careful.put(KEY, SMALL, once=True)

    assert careful.get(KEY, limit=2 * len(SMALL)) == SMALL


@pytest.mark.parametrize("kind", ["directory", "link", "dangling link"])
def test_what_is_no_file_is_in_the_way_of_one(tmp_path: Path, kind: str) -> None:
    store = LocalStore(tmp_path / "root", create=True)
    store.prepare("box")
    target = tmp_path / "root" / KEY
    target.parent.mkdir(parents=True)
    (tmp_path / "same").write_bytes(SMALL)
    if kind == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / ("same" if kind == "link" else "nothing"))

    with pytest.raises(StoreError) as caught:
        store.put(KEY, SMALL, once=True)

    assert caught.value.code is ErrorCode.OBJECT_EXISTS
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.server
def test_a_put_whose_answer_was_lost_is_recognized_as_its_own(line: Line) -> None:
    line.proxy.play(answer_lost())

    line.retrying().put(KEY, SMALL, once=True)

    assert len(line.retries) == 1
    assert line.direct.get(KEY, limit=2 * len(SMALL)) == SMALL


@pytest.mark.server
@pytest.mark.parametrize("refusal", [answered(501, "NotImplemented"), answered(400, "InvalidArgument")])
def test_a_store_that_knows_no_conditions_is_asked_for_none_again(line: Line, s3: S3Server, refusal: object) -> None:
    asked: list[bool] = []

    def ignorant(exchange: Exchange) -> None:
        if exchange.command == "PUT":
            asked.append("If-None-Match" in exchange.headers)
        (refusal if "If-None-Match" in exchange.headers else passed())(exchange)  # type: ignore[operator]

    with closing(S3Store(line.bucket, "", create=False, options=s3.options(endpoint_url=line.proxy.url))) as store:
        line.proxy.otherwise = ignorant
        store.put(KEY, OTHER, once=True)
        store.put(KEY, SMALL, once=True)

    assert asked == [True, False, False]
    assert line.direct.get(KEY, limit=2 * len(SMALL)) == SMALL


@pytest.mark.server
def test_two_who_write_the_same_object_at_once_are_told_apart_in_time(line: Line) -> None:
    line.proxy.play(answered(409, "ConditionalRequestConflict"))

    line.retrying().put(KEY, SMALL, once=True)

    assert len(line.retries) == 1

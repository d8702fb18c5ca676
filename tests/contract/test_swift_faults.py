"""What a store in Swift makes of transfers that are cut, lost, delayed or damaged, and of tokens that end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from tests.contract.conftest import CROWD
from tests.contract.line import KEY, LARGE, MIB, PATIENT_S, SMALL, TIMEOUT_S, failed_tries, failure, with_some_time_out
from tests.contract.swift_line import SwiftLine, refused
from tests.servers.faultproxy import altered, answer_lost, download_cut, passed, unanswered, upload_cut
from tests.servers.swift import CROWD_ACCOUNT
from tests.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.server


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_cut_by_a_reset_leaves_no_object_and_is_sent_again(swift_line: SwiftLine, body: bytes) -> None:
    swift_line.proxy.play(upload_cut(len(body) // 2), upload_cut(len(body) // 2))

    error = failure(lambda: swift_line.faulty.put(KEY, body))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert KEY in error.message
    assert list(swift_line.direct.list("")) == []
    swift_line.retrying().put(KEY, body)
    assert swift_line.direct.get(KEY, limit=len(body) + 1) == body
    assert len(swift_line.retries) == 1


@pytest.mark.parametrize("once", [False, True])
def test_an_upload_whose_answer_is_lost_is_sent_again_and_recognised(swift_line: SwiftLine, *, once: bool) -> None:
    swift_line.proxy.play(answer_lost())

    swift_line.retrying().put(KEY, LARGE, once=once)

    assert [entry.size for entry in swift_line.direct.list("")] == [len(LARGE)]
    assert len(swift_line.retries) == 1


def test_an_upload_that_failed_before_it_succeeded_keeps_no_memory(swift_line: SwiftLine) -> None:
    swift_line.proxy.play(unanswered(), upload_cut(MIB), answer_lost())

    assert failed_tries(swift_line.retrying(), swift_line.retries) == 3


def test_what_somebody_else_put_under_a_final_name_is_left_alone(swift_line: SwiftLine) -> None:
    swift_line.direct.put(KEY, SMALL)

    for other in (LARGE, SMALL[:-1] + b"y"):
        error = failure(lambda other=other: swift_line.retrying().put(KEY, other, once=True))  # type: ignore[misc]  # of a default
        assert error.code is ErrorCode.OBJECT_EXISTS
        assert KEY in error.message

    assert swift_line.direct.get(KEY, limit=MIB) == SMALL
    assert swift_line.retries == []


@pytest.mark.parametrize("then", ["close", "reset", "silence"])
@pytest.mark.parametrize("after", [0, 15 * MIB])
def test_a_download_cut_short_is_never_a_short_result(swift_line: SwiftLine, after: int, then: Any) -> None:
    swift_line.direct.put(KEY, LARGE)
    cut = download_cut(after, then=then)
    swift_line.proxy.play(cut, cut)

    error = failure(lambda: swift_line.faulty.get(KEY, limit=len(LARGE)))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert swift_line.retrying().get(KEY, limit=len(LARGE)) == LARGE
    assert len(swift_line.retries) == 1


@pytest.mark.parametrize("then", ["close", "reset", "silence"])
def test_a_listing_cut_short_is_never_an_empty_or_shorter_one(swift_line: SwiftLine, then: Any) -> None:
    for number in range(3):
        swift_line.direct.put(f"box/i{number}/b/manifest.json", SMALL)

    for after in (0, 100):
        swift_line.proxy.play(download_cut(after, then=then))
        assert isinstance(failure(lambda: list(swift_line.faulty.list("box/"))), TransientStoreError)

    swift_line.proxy.play(download_cut(100, then=then))
    assert [entry.key for entry in swift_line.retrying().list("box/")] == [
        f"box/i{number}/b/manifest.json" for number in range(3)
    ]
    swift_line.proxy.play(passed(), download_cut(0, then=then))
    assert list(swift_line.retrying().children("box/")) == ["i0", "i1", "i2"]


def test_a_listing_goes_on_where_it_failed(swift_line: SwiftLine) -> None:
    crowded = swift_line.store(swift_line.options(), CROWD_ACCOUNT, create=False)
    list(crowded.children(""))
    swift_line.proxy.play(passed(), passed(), refused(503))

    keys = [entry.key for entry in swift_line.retrying(crowded).list("crowd/chunk-0000")]

    assert len(keys) == CROWD
    assert keys == sorted(set(keys))
    assert len(swift_line.retries) == 1


def test_connections_are_used_again(swift_line: SwiftLine) -> None:
    with TcpProxy(swift_line.server.port) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        store = swift_line.store(swift_line.server.options(url=url))
        for _ in range(5):
            store.prepare("box")
            store.put(KEY, SMALL)
            assert store.get(KEY, limit=MIB) == SMALL
            assert len(list(store.list("box/"))) == 1
            store.delete(KEY)
        store.close()
        assert wire.accepted <= 2


def test_a_silent_store_is_left_after_the_read_time_out(swift_line: SwiftLine) -> None:
    swift_line.proxy.otherwise = unanswered()
    for request in (
        lambda: swift_line.impatient.put(KEY, LARGE),
        lambda: swift_line.impatient.get(KEY, limit=1),
        lambda: list(swift_line.impatient.list("")),
    ):
        error = failure(request)
        assert isinstance(error, TransientStoreError)
        assert error.code is ErrorCode.STORE_UNREACHABLE


def test_a_store_that_reads_and_sends_slowly_but_steadily_is_given_the_time(swift_line: SwiftLine) -> None:
    small, other = LARGE[:MIB], f"{KEY}.small"
    swift_line.direct.put(other, small)

    def send(timeout_s: float) -> None:
        sender = swift_line.store(replace(swift_line.options(timeout_s=timeout_s), read_timeout_s=PATIENT_S))
        sender.prepare("box")
        swift_line.proxy.play(passed(upload_rate=len(LARGE) / (1.3 * timeout_s)))
        sender.put(KEY, LARGE)

    def read(timeout_s: float) -> bytes:
        reader = swift_line.store(swift_line.options(timeout_s=timeout_s))
        reader.prepare("box")
        swift_line.proxy.play(passed(download_rate=len(small) / (1.3 * timeout_s)))
        return reader.get(other, limit=len(small))

    with_some_time_out(send)
    assert swift_line.direct.get(KEY, limit=len(LARGE)) == LARGE
    assert with_some_time_out(read) == small


def test_an_upload_confirmed_with_another_digest_or_none_is_no_success(swift_line: SwiftLine) -> None:
    swift_line.proxy.play(altered(Etag="0" * 32), refused(201), refused(422))

    codes = [failure(lambda: swift_line.faulty.put(KEY, SMALL)).code for _ in range(3)]

    assert codes == [ErrorCode.UPLOAD_CORRUPT] * 3
    swift_line.proxy.play(altered(Etag="0" * 32), refused(422))
    swift_line.retrying().put(KEY, SMALL)
    assert [retry.error.code for retry in swift_line.retries] == [ErrorCode.UPLOAD_CORRUPT] * 2


def test_a_refused_token_is_replaced_once_for_all_threads_and_not_felt(swift_line: SwiftLine) -> None:
    keys = [f"box/chunk-{number:08d}" for number in range(16)]
    for _ in range(2):
        swift_line.proxy.forget()
        swift_line.server.forget_tokens()
        ready = threading.Barrier(8)

        def put(key: str, ready: threading.Barrier = ready) -> None:
            ready.wait()
            swift_line.faulty.put(key, key.encode() * 1000)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, keys))
        assert swift_line.logins() == 1

    assert all(swift_line.faulty.get(key, limit=MIB) == key.encode() * 1000 for key in keys)


def test_a_token_that_is_refused_and_so_is_its_successor_is_denied_and_not_tried_again(swift_line: SwiftLine) -> None:
    swift_line.proxy.play(refused(401), passed(), refused(401))

    error = failure(lambda: swift_line.retrying().put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_DENIED
    assert not isinstance(error, TransientStoreError)
    assert (swift_line.retries, swift_line.logins()) == ([], 1)


def test_a_login_that_fails_for_now_is_tried_again(swift_line: SwiftLine) -> None:
    fresh = swift_line.store(swift_line.options(timeout_s=2 * TIMEOUT_S))
    swift_line.proxy.play(refused(503, Retry_After="0"), upload_cut(0), unanswered())

    swift_line.retrying(fresh).put(KEY, SMALL)

    assert swift_line.direct.get(KEY, limit=MIB) == SMALL
    codes = [retry.error.code for retry in swift_line.retries]
    assert codes[:3] == [ErrorCode.STORE_UNREACHABLE] * 3
    assert set(codes) == {ErrorCode.STORE_UNREACHABLE}, "or a slow host has exceeded the time-out once more"


def test_passing_refusals_are_tried_again_until_they_pass(swift_line: SwiftLine) -> None:
    passing = [408, 409, 425, 429, 498, 499, 500, 502, 503, 504]
    for status in passing:
        swift_line.proxy.play(refused(status))
        assert isinstance(failure(lambda: swift_line.faulty.put(KEY, SMALL)), TransientStoreError)
    swift_line.proxy.play(*map(refused, passing[:3]))
    swift_line.retrying().put(KEY, SMALL)
    swift_line.proxy.play(*map(refused, passing[3:6]))
    assert swift_line.retrying().get(KEY, limit=MIB) == SMALL
    swift_line.proxy.play(*map(refused, passing[6:8]))
    assert len(list(swift_line.retrying().list("box/"))) == 1
    swift_line.proxy.play(*map(refused, passing[8:]))
    swift_line.retrying().delete(KEY)

    assert [retry.attempt for retry in swift_line.retries] == [1, 2, 3, 1, 2, 3, 1, 2, 1, 2]
    assert all("tx-scripted" in retry.error.message for retry in swift_line.retries)


def test_a_store_that_asks_to_be_left_alone_says_for_how_long(swift_line: SwiftLine) -> None:
    for status in (429, 498, 503):
        swift_line.proxy.play(refused(status, Retry_After="7"))
        error = failure(lambda: swift_line.faulty.put(KEY, SMALL))
        assert isinstance(error, TransientStoreError)
        assert error.retry_after_s == 7


def test_a_page_of_some_other_server_is_no_listing_and_no_login(swift_line: SwiftLine) -> None:
    swift_line.proxy.play(refused(200), refused(200), refused(200))

    assert isinstance(failure(lambda: list(swift_line.faulty.list("box/"))), TransientStoreError)
    assert type(failure(lambda: swift_line.faulty.delete(KEY))) is StoreError
    fresh = swift_line.store(swift_line.options())
    error = failure(lambda: fresh.prepare("box"))
    assert error.code is ErrorCode.STORE_FAILED
    assert "store.swift.auth" in error.hint

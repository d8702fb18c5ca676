"""What a store on S3 makes of transfers that are cut, lost, delayed or damaged, bare and when it tries again."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import (
    ErrorCode,
    TransientStoreError,
)
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import CHECKSUM_HEADER
from tests.contract.conftest import CROWD
from tests.contract.line import (
    E503,
    KEY,
    LARGE,
    MIB,
    PATIENT_S,
    SMALL,
    TIMEOUT_S,
    Line,
    failed_tries,
    failure,
    with_some_time_out,
)
from tests.faults.waiting import until
from tests.servers.faultproxy import (
    altered,
    answer_lost,
    answered,
    download_cut,
    passed,
    unanswered,
    upload_cut,
)
from tests.servers.s3 import S3Server
from tests.unit.storage.test_retry import FakeTime

pytestmark = pytest.mark.server


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_cut_by_a_reset_leaves_no_object_and_is_sent_again(line: Line, body: bytes) -> None:
    line.proxy.play(upload_cut(len(body) // 2), upload_cut(len(body) // 2))

    error = failure(lambda: line.faulty.put(KEY, body))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert KEY in error.message
    assert list(line.direct.list("")) == []
    line.retrying().put(KEY, body)
    assert line.direct.get(KEY, limit=len(body) + 1) == body
    assert len(line.retries) == 1


def test_an_upload_whose_answer_is_lost_is_sent_again_and_stored_once(line: Line) -> None:
    line.proxy.play(answer_lost())

    line.retrying().put(KEY, LARGE)

    assert [entry.size for entry in line.direct.list("")] == [len(LARGE)]
    assert len(line.retries) == 1


def test_an_upload_that_failed_before_it_succeeded_keeps_no_memory(line: Line) -> None:
    line.proxy.play(unanswered(), upload_cut(MIB), answer_lost())

    assert failed_tries(line.retrying(), line.retries) == 3


@pytest.mark.parametrize("then", ["close", "reset", "silence"])
@pytest.mark.parametrize("after", [0, 700, 15 * MIB])
def test_a_download_cut_short_is_never_a_short_result(line: Line, after: int, then: Any) -> None:
    line.direct.put(KEY, LARGE)
    cut = download_cut(after, then=then)
    line.proxy.play(cut, cut)

    error = failure(lambda: line.faulty.get(KEY, limit=len(LARGE)))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert line.retrying().get(KEY, limit=len(LARGE)) == LARGE
    assert len(line.retries) == 1


@pytest.mark.parametrize("then", ["close", "reset", "silence"])
@pytest.mark.parametrize("after", [0, 200])
def test_a_listing_cut_short_is_never_an_empty_or_shorter_one(line: Line, after: int, then: Any) -> None:
    for number in range(3):
        line.direct.put(f"box/i{number}/b/manifest.json", SMALL)
    cut = download_cut(after, then=then)

    line.proxy.play(cut)
    assert isinstance(failure(lambda: list(line.faulty.list("box/"))), TransientStoreError)
    line.proxy.play(cut)
    assert isinstance(failure(lambda: list(line.faulty.children("box/"))), TransientStoreError)

    line.proxy.play(cut)
    assert [entry.key for entry in line.retrying().list("box/")] == [f"box/i{n}/b/manifest.json" for n in range(3)]
    line.proxy.play(cut)
    assert list(line.retrying().children("box/")) == ["i0", "i1", "i2"]


def test_a_listing_goes_on_where_it_failed(line: Line, s3: S3Server) -> None:
    options = s3.options(endpoint_url=line.proxy.url)
    crowded = S3Store("crowded", "", create=False, options=options)
    line.proxy.play(passed(), passed(), E503)
    retrying = RetryingStore(
        crowded, give_up_after=2 * PATIENT_S, cancellation=Cancellation(), on_retry=line.retries.append
    )

    keys = [entry.key for entry in retrying.list("crowd/chunk-0000")]

    crowded.close()
    assert len(keys) == CROWD
    assert keys == sorted(set(keys))
    assert len(line.retries) == 1


def test_passing_refusals_are_tried_again_until_they_pass(line: Line) -> None:
    line.proxy.play(E503, answered(500, "InternalError"), answered(503, "SlowDown"))
    line.retrying().put(KEY, LARGE)

    line.proxy.play(answered(429, "TooManyRequests"), answered(502, body=b"<html>bad gateway"))
    assert line.retrying().get(KEY, limit=len(LARGE)) == LARGE

    line.proxy.play(answered(400, "RequestTimeout"), answered(504, body=b""))
    line.retrying().delete(KEY)

    line.proxy.play(E503)
    line.retrying().prepare("box")

    assert list(line.direct.list("")) == []
    assert [retry.attempt for retry in line.retries] == [1, 2, 3, 1, 2, 1, 2, 1]
    assert [retry.operation for retry in line.retries] == ["put"] * 3 + ["get"] * 2 + ["delete"] * 2 + ["prepare"]


def test_a_store_that_refuses_for_ever_is_given_up_within_the_bound(line: Line) -> None:
    line.proxy.otherwise = E503
    fake_time = FakeTime()
    retrying = RetryingStore(
        line.faulty,
        give_up_after=1.5,
        cancellation=fake_time,
        on_retry=line.retries.append,
        clock=lambda: fake_time.now,
    )

    error = failure(lambda: retrying.put(KEY, LARGE))

    assert sum(fake_time.waits) <= 1.5
    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert "503" in error.message
    assert "gave up after" in error.message
    assert len(line.retries) >= 3
    assert list(line.direct.list("")) == []


def test_a_silent_store_is_left_after_the_read_time_out(line: Line) -> None:
    line.proxy.otherwise = unanswered()
    requests: tuple[Callable[[], object], ...] = (
        lambda: line.impatient.put(KEY, LARGE),
        lambda: line.impatient.get(KEY, limit=1),
        lambda: list(line.impatient.list("")),
        lambda: line.impatient.delete(KEY),
        lambda: line.impatient.prepare("box"),
    )
    for asked, request in enumerate(requests):
        began = time.monotonic()
        error = failure(request)
        assert isinstance(error, TransientStoreError)
        assert error.code is ErrorCode.STORE_UNREACHABLE
        assert time.monotonic() - began > TIMEOUT_S * 0.9
        until(lambda asked=asked: len(line.proxy.requests) > asked, "the request")  # type: ignore[misc]  # of a default
        assert len(line.proxy.requests) == asked + 1, "it was not asked again"


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_store_that_reads_slowly_but_steadily_gets_its_upload(
    line: Line, s3: S3Server, kind: type[bytes | bytearray]
) -> None:
    def put(timeout_s: float) -> None:
        options = replace(s3.options(endpoint_url=line.proxy.url), connect_timeout_s=timeout_s)
        line.proxy.play(passed(upload_rate=len(LARGE) / (3 * timeout_s)))
        with closing(S3Store(line.bucket, "", create=False, options=options)) as store:
            began = time.monotonic()
            store.put(KEY, kind(LARGE))
            assert time.monotonic() - began > 2 * timeout_s

    with_some_time_out(put)
    assert line.direct.get(KEY, limit=len(LARGE)) == LARGE


def test_a_store_that_sends_slowly_but_steadily_is_read_to_the_end(line: Line, s3: S3Server) -> None:
    line.direct.put(KEY, LARGE[:MIB])

    def get(timeout_s: float) -> bytes:
        options = s3.options(endpoint_url=line.proxy.url, timeout_s=timeout_s)
        line.proxy.play(passed(download_rate=MIB / (3 * timeout_s)))
        with closing(S3Store(line.bucket, "", create=False, options=options)) as store:
            began = time.monotonic()
            body = store.get(KEY, limit=len(LARGE))
            assert time.monotonic() - began > 2 * timeout_s
            return body

    assert with_some_time_out(get) == LARGE[:MIB]


@pytest.mark.parametrize(
    "header", [("ETag", '"00000000000000000000000000000000"'), (CHECKSUM_HEADER, b64encode(bytes(32)).decode())]
)
def test_an_upload_confirmed_with_another_digest_is_no_success(line: Line, header: tuple[str, str]) -> None:
    wrong = altered(without=(CHECKSUM_HEADER,), **dict([header]))
    line.proxy.play(wrong, wrong)

    error = failure(lambda: line.faulty.put(KEY, SMALL))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.UPLOAD_CORRUPT
    assert header[1].strip('"') in error.message
    line.retrying().put(KEY, SMALL)
    assert [retry.error.code for retry in line.retries] == [ErrorCode.UPLOAD_CORRUPT]


def test_an_upload_confirmed_with_no_digest_is_no_success(line: Line) -> None:
    line.proxy.play(answered(200, body=b"<html>please log in</html>"))

    assert failure(lambda: line.faulty.put(KEY, SMALL)).code is ErrorCode.UPLOAD_CORRUPT


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"00000000000000000000000000000000"', "x-amz-server-side-encryption": "aws:kms"},
        {"ETag": '"not-an-md5-but-opaque"'},
    ],
)
def test_an_etag_that_is_no_md5_is_not_taken_for_one(line: Line, headers: dict[str, str]) -> None:
    line.proxy.otherwise = altered(without=(CHECKSUM_HEADER,), **headers)

    line.retrying().put(KEY, SMALL)


def test_an_upload_that_the_store_finds_damaged_is_sent_again(line: Line) -> None:
    line.proxy.play(answered(400, "BadDigest"))

    line.retrying().put(KEY, LARGE)

    assert [retry.error.code for retry in line.retries] == [ErrorCode.UPLOAD_CORRUPT]
    assert line.direct.get(KEY, limit=len(LARGE)) == LARGE

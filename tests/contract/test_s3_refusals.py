"""What S3Store makes of answers that say more than no: wait, mind your clock, somebody is at it, what is this?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import connect
from backup_agent.storage.s3_objects import S3Objects
from tests.contract.line import KEY, SMALL, Line, failure
from tests.servers.faultproxy import Exchange, Step, answered, passed
from tests.servers.s3 import S3Server
from tests.unit.storage.test_retry import FakeTime

pytestmark = pytest.mark.server

LATER = datetime(2026, 11, 25, 12, 0, 40, tzinfo=UTC)
SKEWED = "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "40"},
        {"Retry-After": format_datetime(LATER, usegmt=True), "Date": "Wed, 25 Nov 2026 12:00:00 GMT"},
    ],
    ids=["seconds", "date"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_says_when_to_come_back_is_left_alone_until_then(
    line: Line, status: int, headers: dict[str, str]
) -> None:
    line.proxy.play(answered(status, "SlowDown", headers=headers))
    line.proxy.play(answered(status, body=b"<html>busy", headers=headers))
    fake_time = FakeTime()
    store = RetryingStore(line.faulty, give_up_after=300, cancellation=fake_time, clock=lambda: fake_time.now)

    store.put(KEY, SMALL)

    assert fake_time.waits == [40, 40]
    assert line.direct.get(KEY, limit=len(SMALL)) == SMALL


@pytest.mark.parametrize(("ahead", "words"), [(3600, "3600 s ahead of"), (-1800, "1800 s behind")])
def test_a_clock_that_is_wrong_is_named_with_how_wrong_it_is(line: Line, ahead: int, words: str) -> None:
    theirs = datetime.now(UTC) - timedelta(seconds=ahead)
    line.proxy.play(answered(403, SKEWED, headers={"Date": format_datetime(theirs, usegmt=True)}))
    line.proxy.play(answered(403, SKEWED, headers={"Date": "?"}))

    error = failure(lambda: line.retrying().put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_DENIED
    assert "NTP" in error.hint
    said = error.message.rpartition("this host's clock is ")[2]
    assert abs(int(said.split()[0]) - abs(ahead)) <= 60
    assert said.split(" s ")[1] == f"{words.split(' s ')[1]} the store's"
    assert "this host's clock" not in failure(lambda: line.faulty.put(KEY, SMALL)).message


@pytest.mark.parametrize(
    "step", [answered(409, "OperationAborted"), answered(409, body=b""), answered(409, "ConditionalRequestConflict")]
)
def test_a_conflict_passes(line: Line, step: Step) -> None:
    line.proxy.play(step)

    line.retrying().put(KEY, SMALL)

    assert [retry.error.code for retry in line.retries] == [ErrorCode.STORE_UNREACHABLE]


def test_an_answer_without_a_code_is_judged_by_its_status(line: Line) -> None:
    nothing = b"<Error><Code></Code><Message></Message></Error>"
    line.proxy.play(answered(429, body=nothing), answered(403, body=nothing))

    assert failure(lambda: line.faulty.put(KEY, SMALL)).code is ErrorCode.STORE_UNREACHABLE
    assert failure(lambda: line.faulty.put(KEY, SMALL)).code is ErrorCode.STORE_DENIED


@pytest.mark.parametrize("status", [403, 405])
def test_a_store_that_takes_no_puts_is_found_when_it_is_prepared(line: Line, status: int) -> None:
    line.direct.put(KEY, SMALL)

    def refusing(exchange: Exchange) -> None:
        (passed() if exchange.command in {"GET", "HEAD"} else answered(status, "MethodNotAllowed"))(exchange)

    line.proxy.otherwise = refusing

    error = failure(lambda: line.faulty.prepare("box"))

    assert error.code is ErrorCode.STORE_DENIED
    assert f"can't put {line.direct.url}/box/probe" in error.message
    assert line.faulty.get(KEY, limit=len(SMALL)) == SMALL


def test_preparing_a_store_puts_nothing(line: Line) -> None:
    line.faulty.prepare("box")

    assert list(line.direct.list("")) == []
    assert [request.split()[0] for request in line.proxy.requests] == ["HEAD", "PUT"]


def test_preparing_a_store_that_knows_no_conditions_leaves_nothing(line: Line) -> None:
    def ignorant(exchange: Exchange) -> None:
        del exchange.headers["If-Match"]
        passed()(exchange)

    line.proxy.otherwise = ignorant
    line.faulty.prepare("box")
    line.proxy.otherwise = passed()
    line.proxy.play(passed(), answered(501, "NotImplemented"))
    line.faulty.prepare("box")

    assert list(line.direct.list("")) == []


def test_what_is_asked_of_a_store_that_does_not_know_it_is_named(line: Line, s3: S3Server) -> None:
    options = s3.options(endpoint_url=line.proxy.url)
    line.proxy.otherwise = answered(501, "NotImplemented")
    with closing(S3Store(line.bucket, "", create=False, options=options, objects=S3Objects(tags={"a": "b"}))) as store:
        error = failure(lambda: store.put(KEY, SMALL, once=True))

    assert error.code is ErrorCode.STORE_FAILED
    assert not isinstance(error, TransientStoreError)
    assert "docs/s3.md" in error.hint


def test_a_bucket_that_is_deleted_meanwhile_is_missing_at_once(s3: S3Server) -> None:
    with closing(S3Store(s3.new_bucket(), "", create=True, options=s3.options())) as store:
        store.prepare("box")
        store.put(KEY, SMALL)
        store.delete(KEY)
        with closing(connect(s3.options())) as client:
            client.delete_bucket(Bucket=store.url.removeprefix("s3://"))

        requests: tuple[Callable[[], object], ...] = (
            lambda: store.put(KEY, SMALL, once=True),
            lambda: store.get(KEY, limit=1),
            lambda: list(store.list("")),
            lambda: store.delete(KEY),
        )
        for request in requests:
            with pytest.raises(StoreError) as caught:
                request()
            assert caught.value.code is ErrorCode.STORE_MISSING
            assert not isinstance(caught.value, TransientStoreError)

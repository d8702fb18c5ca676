"""What a store on S3 makes of refusals: of its server, its bucket, its certificate, or of the operator."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import (
    ConfigError,
    ErrorCode,
    InterruptedByOperator,
    MissingError,
    TransientStoreError,
)
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import S3Options, connect
from tests.contract.line import E503, KEY, LARGE, MIB, SMALL, TIMEOUT_S, Line, failure
from tests.servers.certificate import write_certificate
from tests.servers.faultproxy import (
    FaultProxy,
    Step,
    answer_lost,
    answered,
    passed,
    upload_cut,
)
from tests.servers.s3 import S3Server
from tests.unit.storage.test_retry import FakeTime

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (answered(403, "AccessDenied"), ErrorCode.STORE_DENIED),
        (answered(403, "SignatureDoesNotMatch"), ErrorCode.STORE_DENIED),
        (answered(403, "InvalidAccessKeyId"), ErrorCode.STORE_DENIED),
        (answered(403, "RequestTimeTooSkewed"), ErrorCode.STORE_DENIED),
        (answered(400, "ExpiredToken"), ErrorCode.STORE_DENIED),
        (answered(401, body=b"no"), ErrorCode.STORE_DENIED),
        (answered(403, "QuotaExceeded"), ErrorCode.STORE_FULL),
        (answered(400, "EntityTooLarge"), ErrorCode.STORE_FULL),
        (answered(413, body=b"<html>too large"), ErrorCode.STORE_FULL),
        (answered(507, "XMinioStorageFull"), ErrorCode.STORE_FULL),
        (answered(507, body=b""), ErrorCode.STORE_FULL),
        (answered(404, "NoSuchBucket"), ErrorCode.STORE_MISSING),
        (answered(404, body=b"<html>not here"), ErrorCode.STORE_FAILED),
        (answered(301, "PermanentRedirect"), ErrorCode.STORE_FAILED),
        (answered(400, "InvalidArgument"), ErrorCode.STORE_FAILED),
        (answered(501, "NotImplemented"), ErrorCode.STORE_FAILED),
    ],
)
def test_a_lasting_refusal_is_named_and_not_tried_again(line: Line, step: Step, code: ErrorCode) -> None:
    line.proxy.otherwise = step
    for request in (
        lambda: line.retrying().put(KEY, SMALL),
        lambda: line.retrying().put(KEY, LARGE),
        lambda: line.retrying().get(KEY, limit=1),
        lambda: list(line.retrying().list("")),
        lambda: line.retrying().delete(KEY),
    ):
        error = failure(request)
        assert error.code is code
        assert not isinstance(error, (TransientStoreError, MissingError))
        assert line.direct.url in error.message
    assert line.retries == []


def test_a_bucket_that_may_not_be_looked_at_is_denied(line: Line) -> None:
    line.proxy.play(answered(403, body=b""))

    assert failure(lambda: line.faulty.prepare("box")).code is ErrorCode.STORE_DENIED


def test_a_bucket_that_another_agent_makes_meanwhile_is_prepared(line: Line, s3: S3Server) -> None:
    store = S3Store(line.bucket, "", create=True, options=s3.options(endpoint_url=line.proxy.url))
    line.proxy.play(answered(404, body=b""), answered(409, "BucketAlreadyOwnedByYou"))

    store.prepare("box")

    store.put(KEY, SMALL)
    store.close()


def test_a_bucket_that_belongs_to_somebody_else_is_denied(line: Line, s3: S3Server) -> None:
    store = S3Store(line.bucket, "", create=True, options=s3.options(endpoint_url=line.proxy.url))
    line.proxy.play(answered(404, body=b""), answered(409, "BucketAlreadyExists"))

    assert failure(lambda: store.prepare("box")).code is ErrorCode.STORE_DENIED
    store.close()


def test_a_bucket_is_made_in_the_region_of_the_options(s3: S3Server) -> None:
    options = replace(s3.options(), region="eu-west-1")
    bucket = s3.new_bucket()
    store = S3Store(bucket, "", create=True, options=options)

    store.prepare("box")

    with closing(connect(options)) as client:
        assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "eu-west-1"
    store.close()


def test_a_missing_object_is_not_tried_again(line: Line) -> None:
    with pytest.raises(MissingError):
        line.retrying().get(KEY, limit=1)

    assert line.retries == []


def test_nobody_listening_is_unreachable_and_tried_again(line: Line, s3: S3Server) -> None:
    with FaultProxy(s3.port) as gone:
        pass
    store = S3Store("bucket", "", create=True, options=s3.options(endpoint_url=gone.url, timeout_s=TIMEOUT_S))
    fake_time = FakeTime()
    retrying = RetryingStore(
        store, give_up_after=1, cancellation=fake_time, on_retry=line.retries.append, clock=lambda: fake_time.now
    )

    error = failure(lambda: retrying.put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert gone.url in error.message
    assert line.retries


def test_a_certificate_that_is_not_trusted_is_named_and_not_tried_again(
    line: Line, s3: S3Server, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem")
    with FaultProxy(s3.port, certificate=certificate) as proxy:
        options = s3.options(endpoint_url=proxy.url)
        doubting = S3Store("bucket", "", create=False, options=options)
        error = failure(lambda: doubting.put(KEY, SMALL))
        doubting.close()

        trusting = S3Store(line.bucket, "", create=False, options=replace(options, ca_bundle=certificate))
        trusting.put(KEY, LARGE)
        assert trusting.get(KEY, limit=len(LARGE)) == LARGE
        trusting.close()

    assert error.code is ErrorCode.STORE_FAILED
    assert not isinstance(error, TransientStoreError)
    assert "store.s3.ca_bundle" in error.hint


def test_a_ca_bundle_that_is_not_there_is_found_before_the_first_request(s3: S3Server, tmp_path: Path) -> None:
    options = replace(s3.options(), ca_bundle=tmp_path / "absent.pem")

    with pytest.raises(ConfigError, match=r"absent\.pem is not a file"):
        S3Store("bucket", "", create=False, options=options).put(KEY, SMALL)


def test_an_endpoint_that_is_no_url_is_found_before_the_first_request(s3: S3Server) -> None:
    options = s3.options(endpoint_url="not a url")

    with pytest.raises(ConfigError, match="the S3 options can't be used"):
        S3Store("bucket", "", create=False, options=options).put(KEY, SMALL)


def test_keys_that_are_no_keys_of_ours_are_not_listed(line: Line, s3: S3Server) -> None:
    with closing(connect(s3.options())) as client:
        for foreign in ("box/folder/", "box/.hidden", "box//x", "box/../x"):
            client.put_object(Bucket=line.bucket, Key=foreign, Body=b"")

        assert list(line.direct.list("")) == []
        assert list(line.direct.children("box/")) == ["folder"]

        client.delete_objects(
            Bucket=line.bucket, Delete={"Objects": [{"Key": key} for key in ("box/folder/", "box/.hidden", "box//x")]}
        )
        client.delete_object(Bucket=line.bucket, Key="box/../x")


def test_missing_credentials_are_denied_with_a_hint_at_where_they_go(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = replace(s3.options(), access_key_id=None, secret_access_key=None)

    error = failure(lambda: S3Store("bucket", "", create=True, options=options).prepare("box"))

    assert error.code is ErrorCode.STORE_DENIED
    assert "store.s3.access_key_id" in error.hint


def test_cancelling_ends_a_wait_at_once_and_gives_its_reason(line: Line) -> None:
    line.proxy.otherwise = answered(503, "ServiceUnavailable", headers={"Retry-After": "60"})
    cancellation = Cancellation()
    reason = InterruptedByOperator(ErrorCode.INTERRUPTED, "stopped by SIGTERM", "Start it again.")
    waiting_since: list[float] = []

    def cancel_soon(retry: Retry) -> None:
        assert retry.wait_s == 60
        waiting_since.append(time.monotonic())
        threading.Timer(0.05, lambda: cancellation.cancel(reason)).start()

    store = RetryingStore(line.faulty, give_up_after=600, cancellation=cancellation, on_retry=cancel_soon)

    with pytest.raises(InterruptedByOperator) as caught:
        store.put(KEY, SMALL)

    assert caught.value.message == reason.message
    assert time.monotonic() - waiting_since[0] < 50, "the rest of the minute was not waited for"
    assert len(waiting_since) == 1


def test_after_a_cancellation_the_store_refuses_at_once(line: Line) -> None:
    line.direct.put(KEY, SMALL)
    cancellation = Cancellation()
    cancellation.cancel(InterruptedByOperator(ErrorCode.INTERRUPTED, "stopped", "Start it again."))

    with pytest.raises(InterruptedByOperator):
        line.retrying(cancellation=cancellation).delete(KEY)

    assert [entry.key for entry in line.direct.list("")] == [KEY]


def test_many_threads_share_a_store_whose_line_is_bad(line: Line) -> None:
    line.proxy.play(*[E503, passed(), upload_cut(100), answer_lost()] * 10)
    store = line.retrying()
    keys = [f"box/chunk-{number:08d}" for number in range(20)]
    threads = [threading.Thread(target=store.put, args=(key, key.encode() * 100)) for key in keys]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [entry.key for entry in line.direct.list("")] == keys
    assert all(line.direct.get(key, limit=MIB) == key.encode() * 100 for key in keys)


def test_an_endpoint_with_credentials_in_it_is_refused_without_repeating_them() -> None:
    store = S3Store("bucket", "", create=True, options=S3Options(endpoint_url="https://me:hidden@host"))

    with pytest.raises(ConfigError, match="holds credentials") as caught:
        store.prepare("box")

    assert "hidden" not in str(caught.value)

"""What the S3 store makes of a Swift that answers S3 requests (`s3api`), where its refusals are its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from backup_agent.errors import ErrorCode, TransientStoreError
from backup_agent.storage.s3 import S3Store
from tests.contract.line import KEY, SMALL, failure, patient_with_swift
from tests.servers.faultproxy import Exchange, FaultProxy, passed
from tests.servers.swift import PrivateSwift

pytestmark = pytest.mark.server


@pytest.fixture
def bucket(swift: PrivateSwift) -> Iterator[str]:
    name = f"bucket-{uuid.uuid4()}"
    with closing(S3Store(name, "", create=True, options=swift.s3_options())) as store:
        store.prepare("box")
        yield name


def at_another_time(exchange: Exchange) -> None:
    """As a client whose clock is years behind would ask."""
    exchange.headers.replace_header("X-Amz-Date", "20200101T000000Z")
    passed()(exchange)


def test_a_clock_that_is_wrong_is_denied_with_a_hint_at_the_clock(swift: PrivateSwift, bucket: str) -> None:
    with FaultProxy(swift.port) as proxy:
        proxy.otherwise = at_another_time
        with closing(S3Store(bucket, "", create=False, options=swift.s3_options(url=proxy.url))) as store:
            error = failure(lambda: store.put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_DENIED
    assert "RequestTimeTooSkewed" in error.message
    assert "clock" in error.hint


def test_a_wrong_secret_is_denied(swift: PrivateSwift, bucket: str) -> None:
    options = replace(swift.s3_options(), secret_access_key="wrong")
    with closing(S3Store(bucket, "", create=False, options=options)) as store:
        error = failure(lambda: store.put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_DENIED
    assert not isinstance(error, TransientStoreError)


def test_a_quota_that_is_reached_is_a_full_store(swift: PrivateSwift, bucket: str) -> None:
    assert swift.ask("POST", f"AUTH_test/{bucket}", X_Container_Meta_Quota_Bytes="500") == 204
    with closing(S3Store(bucket, "", create=False, options=swift.s3_options())) as plain:
        error = failure(lambda: patient_with_swift(plain).put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_FULL
    assert not isinstance(error, TransientStoreError)

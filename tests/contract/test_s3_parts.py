"""Objects that a store on S3 gets in several parts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import ErrorCode, TransientStoreError
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import CHECKSUM_HEADER, connect
from backup_agent.storage.s3_objects import S3Objects
from tests.contract.line import E503, KEY, MIB, PATIENT_S, SMALL, Line, failure
from tests.servers.faultproxy import Step, altered, answer_lost, answered, passed, upload_cut
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.server

PART = 5 * MIB
"""The least that S3 takes of a part which is not the last one."""
BODY = os.urandom(2 * PART + 1000)
IGNORANT = altered(without=(CHECKSUM_HEADER,))
OBJECTS = S3Objects(part_size=PART, tags={"a": "b"}, encryption="AES256")


@pytest.fixture
def parting(line: Line, s3: S3Server) -> Iterator[S3Store]:
    options = s3.options(endpoint_url=line.proxy.url)
    with closing(S3Store(line.bucket, "", create=False, options=options, objects=OBJECTS)) as store:
        yield store


@pytest.fixture(scope="module")
def client(s3: S3Server) -> Iterator[S3Client]:
    with closing(connect(s3.options())) as made:
        yield made


def requests(line: Line) -> list[str]:
    """Their verbs, and what of an upload in parts they are."""
    return [
        request.split()[0] + (" part" if "partNumber" in request else " upload" if "upload" in request else "")
        for request in line.proxy.requests
    ]


@pytest.mark.parametrize("confirming", [passed(), IGNORANT], ids=["by SHA-256", "by MD5"])
def test_a_large_object_is_put_in_parts_and_comes_back_whole(
    line: Line, parting: S3Store, client: S3Client, confirming: Step
) -> None:
    line.proxy.otherwise = confirming
    parting.put("box/small", SMALL)  # shows what the store confirms by
    line.proxy.requests.clear()

    parting.put(KEY, BODY, once=True)

    assert requests(line) == ["POST upload", "PUT part", "PUT part", "PUT part", "POST upload"]
    assert line.direct.get(KEY, limit=len(BODY) + 1) == BODY
    assert client.head_object(Bucket=line.bucket, Key=KEY)["ServerSideEncryption"] == "AES256"
    assert client.get_object_tagging(Bucket=line.bucket, Key=KEY)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_an_object_of_just_the_limit_is_put_at_once(line: Line, parting: S3Store) -> None:
    line.proxy.requests.clear()

    parting.put(KEY, BODY[:PART])

    assert requests(line) == ["PUT"]


def test_large_objects_are_not_written_over_either(line: Line, parting: S3Store) -> None:
    line.direct.put(KEY, SMALL)

    assert failure(lambda: parting.put(KEY, BODY, once=True)).code is ErrorCode.OBJECT_EXISTS

    assert line.direct.get(KEY, limit=2 * len(SMALL)) == SMALL
    line.direct.put(KEY, BODY)
    parting.put(KEY, BODY, once=True)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([passed(), passed(), answered(403, "AccessDenied")], ErrorCode.STORE_DENIED),
        ([passed(), passed(), answered(507, "XMinioStorageFull")], ErrorCode.STORE_FULL),
        ([passed(), upload_cut(PART // 2)], ErrorCode.STORE_UNREACHABLE),
        ([passed(), altered(without=(CHECKSUM_HEADER,), ETag=f'"{0:032}"')], ErrorCode.UPLOAD_CORRUPT),
        ([*[passed()] * 4, answered(500, "InternalError")], ErrorCode.STORE_UNREACHABLE),
        ([*[passed()] * 4, answered(200, "InternalError")], ErrorCode.STORE_UNREACHABLE),
    ],
    ids=["denied", "full", "cut", "damaged", "not completed", "completed with an error"],
)
def test_an_upload_in_parts_that_fails_leaves_nothing(
    line: Line, parting: S3Store, client: S3Client, script: list[Step], code: ErrorCode
) -> None:
    line.proxy.play(*script)

    assert failure(lambda: parting.put(KEY, BODY)).code is code

    assert list(line.direct.list("")) == []
    assert "Uploads" not in client.list_multipart_uploads(Bucket=line.bucket)


def test_an_upload_in_parts_is_tried_again_as_a_whole(line: Line, parting: S3Store, client: S3Client) -> None:
    line.proxy.play(passed(), E503, passed(), passed(), passed(), passed(), passed(), answer_lost())
    retrying = RetryingStore(
        parting, give_up_after=2 * PATIENT_S, cancellation=Cancellation(), on_retry=line.retries.append
    )

    retrying.put(KEY, BODY, once=True)

    assert len(line.retries) == 2
    assert line.direct.get(KEY, limit=len(BODY) + 1) == BODY
    assert "Uploads" not in client.list_multipart_uploads(Bucket=line.bucket)


def test_threads_may_put_in_parts_at_once(line: Line, parting: S3Store) -> None:
    bodies = {f"box/chunk-{number:08d}": BODY[number : PART + 100 + number] for number in range(4)}
    threads = [threading.Thread(target=parting.put, args=item) for item in bodies.items()]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key: line.direct.get(key, limit=len(BODY)) for key in bodies} == bodies


def test_a_whole_that_is_confirmed_as_another_one_is_no_success(line: Line, parting: S3Store) -> None:
    other = answered(
        200, body=b'<CompleteMultipartUploadResult><ETag>"%032d-3"</ETag></CompleteMultipartUploadResult>' % 0
    )
    line.proxy.play(*[passed()] * 4, other)

    error = failure(lambda: parting.put(KEY, BODY))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.UPLOAD_CORRUPT

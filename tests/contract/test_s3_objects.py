"""What a store on S3 is asked to do to objects, and what it says to that: encryption, classes, tags, Object Lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from backup_agent.errors import ErrorCode, MissingError, TransientStoreError
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import connect
from backup_agent.storage.s3_objects import S3Objects
from tests.contract.line import KEY, SMALL, Line, failure
from tests.servers.faultproxy import altered, answered
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.server

MANIFEST = "box/instance/backup/manifest.json"
PIN = "box/instance/backup/pin"
NOW = datetime.now(UTC).replace(microsecond=0)
LOCKED = S3Objects(lock_mode="COMPLIANCE", lock_days=30)

Making = Callable[[S3Objects], S3Store]


@pytest.fixture
def making(line: Line, s3: S3Server) -> Iterator[Making]:
    """Makes a store on the line's bucket, through its proxy."""
    made: list[S3Store] = []

    def make(objects: S3Objects) -> S3Store:
        options = s3.options(endpoint_url=line.proxy.url)
        made.append(S3Store(line.bucket, "", create=False, options=options, objects=objects))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture(scope="module")
def client(s3: S3Server) -> Iterator[S3Client]:
    with closing(connect(s3.options())) as made:
        yield made


@pytest.fixture
def locked(s3: S3Server) -> Iterator[S3Store]:
    """A store that keeps chunks and manifests for 30 days, in a bucket it has made itself."""
    with closing(
        S3Store(s3.new_bucket(), "", create=True, options=s3.options(), objects=LOCKED, now=lambda: NOW)
    ) as store:
        store.prepare("box")
        yield store


def bucket_of(store: S3Store) -> str:
    return store.url.removeprefix("s3://")


def test_objects_are_encrypted_as_configured(line: Line, making: Making, client: S3Client) -> None:
    making(S3Objects(encryption="AES256")).put(KEY, SMALL, once=True)
    told = client.head_object(Bucket=line.bucket, Key=KEY)
    assert told["ServerSideEncryption"] == "AES256"

    making(S3Objects(encryption="aws:kms", kms_key_id="a-key", bucket_key=True)).put(MANIFEST, SMALL, once=True)
    told = client.head_object(Bucket=line.bucket, Key=MANIFEST)
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"], told["BucketKeyEnabled"]) == ("aws:kms", "a-key", True)


def test_a_store_that_does_not_say_that_it_has_encrypted_is_not_believed(line: Line, making: Making) -> None:
    line.proxy.otherwise = altered(without=("x-amz-server-side-encryption",))

    error = failure(lambda: making(S3Objects(encryption="AES256")).put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_FAILED
    assert not isinstance(error, TransientStoreError)
    assert "does not say that it was encrypted by AES256" in error.message


def test_chunks_get_the_storage_class_and_manifests_stay_readable(line: Line, making: Making, client: S3Client) -> None:
    store = making(S3Objects(storage_class="GLACIER"))
    store.put(KEY, SMALL, once=True)
    store.put(MANIFEST, SMALL, once=True)

    assert client.head_object(Bucket=line.bucket, Key=KEY)["StorageClass"] == "GLACIER"
    assert store.get(MANIFEST, limit=len(SMALL)) == SMALL


def test_an_archived_object_is_named_so_and_not_asked_for_again(line: Line, making: Making) -> None:
    making(S3Objects(storage_class="GLACIER")).put(KEY, SMALL, once=True)

    error = failure(lambda: line.retrying().get(KEY, limit=len(SMALL)))

    assert error.code is ErrorCode.OBJECT_ARCHIVED
    assert not isinstance(error, MissingError)
    assert "restore-object" in error.hint
    assert line.retries == []


def test_objects_bear_tags_metadata_and_whose_they_are(line: Line, making: Making, client: S3Client) -> None:
    making(S3Objects(tags={"team": "dba + co", "env": "a=b"}, metadata={"site": "north"})).put(KEY, SMALL, once=True)

    told = client.head_object(Bucket=line.bucket, Key=KEY)
    assert told["Metadata"] == {"site": "north", "instance-id": "instance", "backup-id": "backup"}
    tags = client.get_object_tagging(Bucket=line.bucket, Key=KEY)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "dba + co", "env": "a=b"}


def test_final_objects_are_kept_for_the_days_configured(locked: S3Store, client: S3Client) -> None:
    locked.put(KEY, SMALL, once=True)
    locked.put(PIN, SMALL)

    told = client.head_object(Bucket=bucket_of(locked), Key=KEY)
    assert told["ObjectLockMode"] == "COMPLIANCE"
    assert told["ObjectLockRetainUntilDate"] == NOW + timedelta(days=30)
    assert "ObjectLockMode" not in client.head_object(Bucket=bucket_of(locked), Key=PIN)


def test_deleting_what_is_locked_is_refused_and_what_is_not_is_gone_for_good(locked: S3Store, client: S3Client) -> None:
    locked.put(KEY, SMALL, once=True)
    locked.put(PIN, SMALL)
    locked.put(PIN, SMALL)

    error = failure(lambda: locked.delete(KEY))
    locked.delete(PIN)
    locked.delete(PIN)

    assert error.code is ErrorCode.OBJECT_LOCKED
    assert not isinstance(error, TransientStoreError)
    assert f"until {NOW + timedelta(days=30):%Y-%m-%d %H:%M} UTC" in error.message
    assert locked.get(KEY, limit=len(SMALL)) == SMALL
    versions = client.list_object_versions(Bucket=bucket_of(locked))
    assert [version["Key"] for version in versions["Versions"]] == [KEY]
    assert "DeleteMarkers" not in versions


def test_what_a_failed_attempt_has_left_locked_is_in_nobodys_way(locked: S3Store) -> None:
    locked.put(KEY, b"of the failed attempt", once=True)

    locked.put(KEY, SMALL, once=True)

    assert locked.get(KEY, limit=2 * len(SMALL)) == SMALL


def test_a_lock_that_the_bucket_does_not_have_is_found_before_anything_is_put(line: Line, making: Making) -> None:
    error = failure(lambda: making(LOCKED).prepare("box"))

    assert error.code is ErrorCode.STORE_FAILED
    assert "store.s3.lock_mode" in error.hint
    assert list(line.direct.list("")) == []


def test_a_refusal_because_of_a_lock_is_told_from_one_for_lack_of_power(line: Line) -> None:
    for message in ("Access Denied because object protected by object lock.", "Object is WORM protected"):
        line.proxy.play(answered(403, "AccessDenied", message=message))
        assert failure(lambda: line.faulty.delete(KEY)).code is ErrorCode.OBJECT_LOCKED
    line.proxy.play(answered(403, "AccessDenied"))
    assert failure(lambda: line.faulty.delete(KEY)).code is ErrorCode.STORE_DENIED


def test_a_kms_key_that_can_not_be_used_is_named(line: Line, making: Making) -> None:
    line.proxy.play(answered(400, "KMS.DisabledException"))

    error = failure(lambda: making(S3Objects(encryption="aws:kms", kms_key_id="a-key")).put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_DENIED
    assert "store.s3.kms_key_id" in error.hint

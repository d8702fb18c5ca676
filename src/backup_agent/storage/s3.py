"""A store in an S3 bucket, AWS's or any that resembles it.

A container is a prefix of keys: buckets allow no names such as `z_CLOUDDB_BACKUPS`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.interface import StoredObject
from backup_agent.storage.keys import check_key, check_parent, check_prefix, is_key
from backup_agent.storage.s3_client import S3Options, connect
from backup_agent.storage.s3_digests import Digests
from backup_agent.storage.s3_errors import translated
from backup_agent.storage.s3_objects import S3Objects
from backup_agent.storage.s3_upload import Item, Uploads
from backup_agent.storage.s3_versions import delete_versions, no_lock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import (
        CreateBucketRequestTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
    )

_DEFAULT_REGIONS = {None, "aws-global", "us-east-1"}  # a bucket is made there by naming no region


class S3Store:
    """Implements `Store`. The client is made by the first request. `close` ends its idle connections."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        create: bool,
        options: S3Options,
        objects: S3Objects = S3Objects(),  # noqa: B008 - a frozen value
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`prefix`, without slashes at its ends, goes before every key. `create` lets `prepare` make the bucket."""
        if prefix:
            check_key(prefix)
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self._create = create
        self._options = options
        self._lock = threading.Lock()
        self._made: S3Client | None = None
        self._objects = objects
        self._uploads = Uploads(lambda: self._client, bucket, objects, now=now)

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._base}".removesuffix("/")

    def prepare(self, container: str) -> None:
        """Raises `store_denied` also when the key may not list the bucket: nothing could be restored or deleted."""
        check_key(container)
        try:
            with translated("reach the bucket of", self.url):
                self._client.head_bucket(Bucket=self._bucket)
        except StoreError as error:
            if error.code is not ErrorCode.STORE_MISSING or not self._create:
                raise
            self._create_bucket()
        if self._objects.lock_mode is not None:
            with translated("ask for the Object Lock of", self.url):
                told = self._client.get_object_lock_configuration(Bucket=self._bucket)
            if told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
                raise no_lock(self.url)
        key = f"{container}/probe"
        with translated("put", self._place(key)):
            if not self._uploads.would_put(key, self._base + key):
                return
        with suppress(StoreError):  # an empty object that can't be removed harms nobody
            self.delete(key)

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        check_key(key)
        place = self._place(key)
        with translated("put", place):
            self._uploads.put(Item(key, self._base + key, place, body, Digests(body, sha256), once))

    def get(self, key: str, *, limit: int) -> bytes:
        check_key(key)
        with translated("get", self._place(key)):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._base + key)
            if "ContentLength" not in answer:
                raise self._cut_short("get", key, "the store announces no length")
            expected = min(limit, answer["ContentLength"])
            pieces, got = [], 0
            with closing(answer["Body"]) as body:
                while got < expected and (piece := body.read(expected - got)):
                    pieces.append(piece)
                    got += len(piece)
        if got < expected:
            raise self._cut_short("get", key, f"the transfer ended after {got} of {expected} bytes")
        return b"".join(pieces)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        check_prefix(prefix)
        for page in self._pages(prefix, delimiter=""):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._base)
                if is_key(key):  # others, such as consoles' markers for folders, are not ours
                    yield StoredObject(key, entry["Size"], entry.get("LastModified"))

    def children(self, prefix: str) -> Iterator[str]:
        check_parent(prefix)
        for page in self._pages(prefix, delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                key = entry["Prefix"].removeprefix(self._base).removesuffix("/")
                if is_key(key):
                    yield key.removeprefix(prefix)

    def delete(self, key: str) -> None:
        check_key(key)
        with translated("delete", self._place(key)):
            if self._objects.lock_mode is None:
                self._client.delete_object(Bucket=self._bucket, Key=self._base + key)
            else:
                delete_versions(self._client, self._bucket, self._base + key, place=self._place(key))

    def close(self) -> None:
        """For the end of the program. A later request opens connections anew."""
        with self._lock:
            if self._made is not None:
                self._made.close()

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                self._made = connect(self._options)
            return self._made

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        request: CreateBucketRequestTypeDef = {"Bucket": self._bucket}
        if region not in _DEFAULT_REGIONS:
            request["CreateBucketConfiguration"] = {"LocationConstraint": cast("BucketLocationConstraintType", region)}
        if self._objects.lock_mode is not None:
            request["ObjectLockEnabledForBucket"] = True
        with translated("make the bucket of", self.url):
            try:
                self._client.create_bucket(**request)
            except self._client.exceptions.BucketAlreadyOwnedByYou:
                return  # another agent of the same account made it meanwhile

    def _pages(self, prefix: str, delimiter: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        """Follows the continuation itself: botocore's paginator takes a page cut short for the last one."""
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": self._base + prefix}
        if delimiter:
            request["Delimiter"] = delimiter
        while True:
            with translated("list", self._place(prefix)):
                page = self._client.list_objects_v2(**request)
            if page.get("IsTruncated") is False:
                yield page
                return
            following = page.get("NextContinuationToken")
            if following is None or following == request.get("ContinuationToken"):
                raise self._cut_short("list", prefix, "the answer is not a whole listing")
            yield page
            request["ContinuationToken"] = following

    def _cut_short(self, operation: str, key: str, cause: str) -> TransientStoreError:
        return TransientStoreError(
            ErrorCode.STORE_UNREACHABLE,
            f"can't {operation} {self._place(key)}: {cause}",
            "Check the network, that store.s3.endpoint_url is an S3 service, and the store's log.",
        )

    def _place(self, key: str) -> str:
        return f"{self.url}/{key}"

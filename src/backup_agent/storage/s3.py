"""A store in an S3 bucket, AWS's or any that resembles it.

A container is a prefix of keys: buckets allow no names such as `z_CLOUDDB_BACKUPS`. Objects are put in one request
each (no multipart), so they may have at most 5 GiB.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, cast

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.interface import StoredObject, md5_hex
from backup_agent.storage.keys import check_key, check_parent, check_prefix, is_key
from backup_agent.storage.s3_client import S3Options, connect
from backup_agent.storage.s3_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import (
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
        PutObjectOutputTypeDef,
    )

_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_DEFAULT_REGIONS = {None, "aws-global", "us-east-1"}  # a bucket is made there by naming no region


class S3Store:
    """Implements `Store`. The client is made by the first request. `close` ends its idle connections."""

    def __init__(self, bucket: str, prefix: str, *, create: bool, options: S3Options) -> None:
        """`prefix`, without slashes at its ends, goes before every key. `create` lets `prepare` make the bucket."""
        if prefix:
            check_key(prefix)
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self._create = create
        self._options = options
        self._lock = threading.Lock()
        self._made: S3Client | None = None

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

    def put(self, key: str, body: bytes | bytearray) -> None:
        check_key(key)
        md5 = md5_hex(body)
        with translated("put", self._place(key)):
            # botocore sends blocks, each within the connection's time-out, and first asks with `Expect: 100-continue`.
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._base + key,
                Body=cast("bytes", body),  # a bytearray will do; the stubs do not know
                ContentMD5=base64.b64encode(bytes.fromhex(md5)).decode("ascii"),
            )
        self._confirm(key, md5, answer)

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
            self._client.delete_object(Bucket=self._bucket, Key=self._base + key)

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
        with translated("make the bucket of", self.url):
            try:
                if region in _DEFAULT_REGIONS:
                    self._client.create_bucket(Bucket=self._bucket)
                else:
                    self._client.create_bucket(
                        Bucket=self._bucket,
                        CreateBucketConfiguration={"LocationConstraint": cast("BucketLocationConstraintType", region)},
                    )
            except self._client.exceptions.BucketAlreadyOwnedByYou:
                return  # another agent of the same account made it meanwhile

    def _confirm(self, key: str, md5: str, answer: PutObjectOutputTypeDef) -> None:
        """The store has compared Content-MD5, if it knows it; its ETag shows that it did, where the ETag is the MD5."""
        etag = answer.get("ETag", "").strip('"')
        encrypted = answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer
        if etag and (encrypted or etag == md5 or _MD5_ETAG.fullmatch(etag) is None):
            return
        raise TransientStoreError(
            ErrorCode.UPLOAD_CORRUPT,
            f"put {self._place(key)}, but the store confirmed the digest {etag or '(none)'} and not {md5}",
            "If it goes on, suspect the network, a proxy or the memory of one of the hosts.",
        )

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

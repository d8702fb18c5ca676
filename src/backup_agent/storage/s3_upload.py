"""Objects on their way into a bucket: sent, confirmed by a digest, and not put over others where the store can tell.

What a store knows beyond the oldest S3 is found out with the first objects; after that, it is asked for no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backup_agent.errors import ErrorCode, StoreError
from backup_agent.storage.s3_body import Body
from backup_agent.storage.s3_digests import Digests, same, unconfirmed
from backup_agent.storage.s3_errors import is_in_the_way, is_unmet, refuses_a_header
from backup_agent.storage.s3_objects import S3Objects
from backup_agent.storage.s3_parts import put_in_parts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program


@dataclass(frozen=True, slots=True)
class Item:
    """An object to be put: its key in the store, its name in the bucket, and its place for messages."""

    key: str
    name: str
    place: str
    body: bytes | bytearray
    digests: Digests
    once: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store can do; None while that is not known."""

    checksums: bool | None = None
    """Compares x-amz-checksum-sha256 with what it got, and says so."""
    conditions: bool | None = None
    """Takes `If-None-Match: *`."""

    def ways(self, *, exclusive: bool) -> list[_Way]:
        """The best first; more than one only while something is not known."""
        checksums = (True, False) if self.checksums is None else (self.checksums,)
        wanted = (True, False) if self.conditions is None else (self.conditions,)
        conditions = wanted if exclusive else (False,)
        return [
            _Way(checksum=checksum, md5=not checksum or self.checksums is None, condition=condition)
            for checksum in checksums
            for condition in conditions
        ]


@dataclass(frozen=True, slots=True)
class _Way:
    """What one request has in its headers."""

    checksum: bool
    md5: bool
    condition: bool


class Uploads:
    """Into one bucket. Safe to share between threads. Raises StoreError, and what botocore raises."""

    def __init__(
        self, client: Callable[[], S3Client], bucket: str, objects: S3Objects, *, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._objects = objects
        self._now = now
        self._known = _Known()  # replaced as a whole: threads that learn the same at once do no harm

    def put(self, item: Item) -> None:
        # Where versions are kept nothing is lost by another one on top, and what a failed attempt has left stays.
        exclusive = item.once and self._objects.lock_mode is None
        ways = self._known.ways(exclusive=exclusive)
        for way in ways:
            try:
                answer = self._send(item, way)
            except ClientError as error:
                if way.condition and is_in_the_way(error):
                    if self._is_there(item):
                        return  # put by us: the answer was lost
                    raise
                if way is ways[-1] or not refuses_a_header(error):
                    raise
                continue
            self._check(item, way, answer)
            self._learn(item, way, answer, exclusive=exclusive)
            return

    def would_put(self, key: str, name: str) -> bool:
        """Raises what a put would raise that the store can tell beforehand, such as `store_denied`.

        The condition can't be true, so nothing is put by a store that knows it, and it says so only after it has let
        the request in. Of another store the result is True: there is an empty object now.
        """
        headers = self._objects.headers(key, once=False, now=self._now())
        digests = Digests(b"").headers(sha256=False, md5=True)
        request: Any = {"Bucket": self._bucket, "Key": name, "Body": b"", "IfMatch": '"0"', **headers, **digests}
        try:
            self._client().put_object(**request)
        except ClientError as error:
            if is_unmet(error) or refuses_a_header(error):
                return False
            raise
        return True

    def _send(self, item: Item, way: _Way) -> dict[str, Any]:
        target: dict[str, Any] = {"Bucket": self._bucket, "Key": item.name}
        headers = self._objects.headers(item.key, once=item.once, now=self._now())
        condition = {"IfNoneMatch": "*"} if way.condition else {}
        if self._is_large(item):
            return put_in_parts(
                self._client(),
                target,
                item.body,
                self._objects.part_size,
                headers=headers,
                condition=condition,
                sha256=not way.md5,
                place=item.place,
            )
        digests = item.digests.headers(sha256=way.checksum, md5=way.md5)
        request: Any = {**target, **headers, **condition, **digests, "Body": Body(item.body)}
        # botocore sends blocks, each within the connection's time-out, and first asks with `Expect: 100-continue`.
        return dict(self._client().put_object(**request))

    def _check(self, item: Item, way: _Way, answer: dict[str, Any]) -> None:
        wanted = self._objects.encryption
        if wanted is not None and answer.get("ServerSideEncryption") != wanted:
            raise StoreError(
                ErrorCode.STORE_FAILED,
                f"put {item.place}, but the store does not say that it was encrypted by {wanted}",
                "Remove store.s3.encryption if the store does not know it, and encrypt before it gets there.",
            )
        if self._is_large(item):
            return  # each part was confirmed, and the whole
        doubt = item.digests.doubt(answer, sent_md5=way.md5)
        if doubt is not None:
            self._known = replace(self._known, checksums=None)  # the next try sends all that can prove something
            raise unconfirmed(item.place, doubt)

    def _learn(self, item: Item, way: _Way, answer: dict[str, Any], *, exclusive: bool) -> None:
        known = self._known
        self._known = _Known(
            checksums=known.checksums if self._is_large(item) else way.checksum and "ChecksumSHA256" in answer,
            conditions=way.condition if exclusive else known.conditions,
        )

    def _is_large(self, item: Item) -> bool:
        return len(item.body) > self._objects.part_size

    def _is_there(self, item: Item) -> bool:
        """Whether the object that lies there is this one."""
        told = self._client().head_object(Bucket=self._bucket, Key=item.name, ChecksumMode="ENABLED")
        verdict = same(told, len(item.body), item.digests)
        if verdict is None:
            verdict = self._client().get_object(Bucket=self._bucket, Key=item.name)["Body"].read() == item.body
        return verdict

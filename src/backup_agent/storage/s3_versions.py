"""Deleting where every version is kept: in a bucket with Object Lock.

There, a plain delete only hides the object (by a delete marker): its bytes stay and are paid for, and nobody would
learn that they have to. So each version is deleted by its id, and what the store has to keep stays in sight.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.s3_errors import status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program


def no_lock(url: str) -> StoreError:
    return StoreError(
        ErrorCode.STORE_FAILED,
        f"the bucket of {url} has no Object Lock, which store.s3.lock_mode asks for",
        "Enable Object Lock on the bucket (it can be had on an existing one), or remove store.s3.lock_mode.",
    )


def delete_versions(client: S3Client, bucket: str, name: str, *, place: str) -> None:
    """Returns when no version of the object `name` is in sight any more.

    Raises StoreError (`object_locked`) when the store has to keep one, and what botocore raises.
    """
    seen: set[str] = set()
    while True:
        target: dict[str, Any] = {"Bucket": bucket, "Key": name}
        try:
            told = client.head_object(**target)
        except ClientError as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                return
            raise
        version = told.get("VersionId", "null")  # so S3 calls that of an object older than the versions of its bucket
        if version in seen:
            raise TransientStoreError(
                ErrorCode.STORE_UNREACHABLE,
                f"deleted {place}, but the store still shows it",
                "Look at the object's versions in the store.",
            )
        seen.add(version)
        try:
            client.delete_object(**target, VersionId=version)
        except ClientError as error:
            until = told.get("ObjectLockRetainUntilDate")
            if until is None or status_of(error) != HTTPStatus.FORBIDDEN:
                raise
            raise StoreError(
                ErrorCode.OBJECT_LOCKED,
                f"can't delete {place}: the store keeps it until {until:%Y-%m-%d %H:%M} UTC (Object Lock)",
                "Delete it again when its retention has ended.",
            ) from error

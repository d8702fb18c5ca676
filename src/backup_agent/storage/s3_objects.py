"""What the store is asked to do to the objects that are put: to encrypt, class, tag, describe and keep them.

Encryption with keys of the customer's own (SSE-C) is not offered: every read needs the key again, so that whoever
restores needs it, and the agent as well; `encryption.recipients` does that without the agent's being able to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from backup_agent.domain.layout import is_chunk, owner_of

if TYPE_CHECKING:
    from mypy_boto3_s3.literals import ObjectLockModeType, ServerSideEncryptionType, StorageClassType


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Objects:
    """None leaves a matter to the bucket."""

    encryption: ServerSideEncryptionType | None = None
    kms_key_id: str | None = None
    bucket_key: bool | None = None
    storage_class: StorageClassType | None = None
    """Of chunks. Manifests are read by every listing and every incremental, and so stay readable at once."""
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    lock_mode: ObjectLockModeType | None = None
    lock_days: int = 0
    part_size: int = 1 << 30
    """Bytes; a larger object is put in parts of this size. S3 takes 5 MiB to 5 GiB."""

    def headers(self, key: str, *, once: bool, now: datetime) -> dict[str, Any]:
        """Parameters of both PutObject and CreateMultipartUpload for the object `key` of a store.

        Only final objects (`once`) are locked.
        """
        owner = owner_of(key)
        ids = {} if owner is None else {"instance-id": owner[0], "backup-id": owner[1]}
        locked = once and self.lock_mode is not None
        asked = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key_id,
            "BucketKeyEnabled": self.bucket_key,
            "StorageClass": self.storage_class if is_chunk(key) else None,
            "Tagging": urlencode(self.tags) or None,
            "Metadata": {**ids, **self.metadata} or None,
            "ObjectLockMode": self.lock_mode if locked else None,
            "ObjectLockRetainUntilDate": now + timedelta(days=self.lock_days) if locked else None,
        }
        return {name: value for name, value in asked.items() if value is not None}

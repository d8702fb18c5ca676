"""What the words of S3, and of what resembles it, mean to the operator.

The service's own error code decides first, then the HTTP status: stores that only resemble S3 agree more on the former.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError


@dataclass(frozen=True, slots=True)
class Kind:
    error: type[StoreError]
    code: ErrorCode
    hint: str


_UNREACHABLE = Kind(
    TransientStoreError,
    ErrorCode.STORE_UNREACHABLE,
    "Check store.s3.endpoint_url, the network and the state of the store.",
)
_CORRUPT = Kind(
    TransientStoreError,
    ErrorCode.UPLOAD_CORRUPT,
    "What arrived was not what was sent. If it goes on, suspect the network, a proxy or the memory of a host.",
)
DENIED = Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Check the access key and its policy (docs/s3.md lists what it must allow), and this host's clock.",
)
SKEWED = Kind(
    StoreError, ErrorCode.STORE_DENIED, "Set this host's clock right and keep it so, by NTP (`timedatectl status`)."
)
NO_KMS_KEY = Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Check store.s3.kms_key_id, that the KMS key is enabled, and that the access key may use it (docs/s3.md).",
)
_NO_CREDENTIALS = Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Set store.s3.access_key_id and secret_access_key, or provide credentials in the AWS environment, files or role.",
)
_FULL = Kind(StoreError, ErrorCode.STORE_FULL, "Free space in the store or have the quota raised, then try again.")
_NO_BUCKET = Kind(
    StoreError, ErrorCode.STORE_MISSING, "Check the bucket in store.url, or set store.create to have it made."
)
_NO_OBJECT = Kind(MissingError, ErrorCode.OBJECT_MISSING, "Check the store's URL and the backup's id.")
_BUSY = Kind(
    TransientStoreError,
    ErrorCode.STORE_UNREACHABLE,
    "Something else works on the same bucket or object: find out what.",
)
_IN_THE_WAY = Kind(
    StoreError, ErrorCode.OBJECT_EXISTS, "Find out who else writes there: these names belong to the agent alone."
)
LOCKED = Kind(
    StoreError, ErrorCode.OBJECT_LOCKED, "Delete it again when its retention has ended; until then the store keeps it."
)
_NO_LOCK = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Enable Object Lock on the bucket (it can be had on an existing one), or remove store.s3.lock_mode.",
)
_ARCHIVED = Kind(
    StoreError,
    ErrorCode.OBJECT_ARCHIVED,
    "Have the backup's objects restored from the archive first (`aws s3api restore-object`), and those of its parents.",
)
_NOT_KNOWN = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "The store does not know something it was asked for: leave away what docs/s3.md does not list for such a store.",
)
ELSEWHERE = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.s3.region to the bucket's region, and store.s3.endpoint_url to where the store really is (https?).",
)
UNTRUSTED = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.s3.ca_bundle to the CA of the store's certificate, and check the host in store.s3.endpoint_url.",
)
FAILED = Kind(
    StoreError, ErrorCode.STORE_FAILED, "Check store.url, store.s3 and the store's own log for what it did not like."
)

BY_CODE = {
    "AccessDenied": DENIED,
    "AllAccessDisabled": DENIED,
    "AccountProblem": DENIED,
    "BucketAlreadyExists": DENIED,
    "ExpiredToken": DENIED,
    "InvalidAccessKeyId": DENIED,
    "InvalidToken": DENIED,
    "RequestTimeTooSkewed": SKEWED,
    "SignatureDoesNotMatch": DENIED,
    "TokenRefreshRequired": DENIED,
    "IncompleteBody": _UNREACHABLE,
    "InternalError": _UNREACHABLE,
    "ConditionalRequestConflict": _BUSY,
    "NoSuchUpload": _BUSY,
    "OperationAborted": _BUSY,
    "RequestLimitExceeded": _UNREACHABLE,
    "RequestTimeout": _UNREACHABLE,
    "ServerBusy": _UNREACHABLE,
    "ServiceUnavailable": _UNREACHABLE,
    "SlowDown": _UNREACHABLE,
    "SlowDownRead": _UNREACHABLE,
    "SlowDownWrite": _UNREACHABLE,
    "Throttling": _UNREACHABLE,
    "ThrottlingException": _UNREACHABLE,
    "TooManyRequests": _UNREACHABLE,
    "XMinioServerNotInitialized": _UNREACHABLE,
    "BadDigest": _CORRUPT,
    "XAmzContentSHA256Mismatch": _CORRUPT,
    "XAmzContentChecksumMismatch": _CORRUPT,
    "EntityTooLarge": _FULL,  # a chunk is below every limit on an object's size: so Swift says that a quota is reached
    "QuotaExceeded": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "AuthorizationHeaderMalformed": ELSEWHERE,
    "PermanentRedirect": ELSEWHERE,
    "TemporaryRedirect": ELSEWHERE,
    "301": ELSEWHERE,
    "InvalidObjectState": _ARCHIVED,
    "InvalidStorageClass": _NOT_KNOWN,
    "InvalidEncryptionAlgorithmError": _NOT_KNOWN,
    "NotImplemented": _NOT_KNOWN,
    "ObjectLockConfigurationNotFoundError": _NO_LOCK,
    "ObjectLocked": LOCKED,
    "PreconditionFailed": _IN_THE_WAY,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
}
BY_STATUS = {
    **dict.fromkeys((401, 403, 405), DENIED),
    409: _BUSY,
    412: _IN_THE_WAY,
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), _UNREACHABLE),
    **dict.fromkeys((413, 507), _FULL),
}
BY_HEAD = {"HeadBucket": _NO_BUCKET, "HeadObject": _NO_OBJECT}
LOCK_WORDS = re.compile(r"object lock|WORM protected", re.IGNORECASE)
"""To AWS, too little power and too early a time are the same code."""
HEADER_REFUSALS = {"InvalidArgument", "InvalidRequest", "NotImplemented"}
# The first that fits decides.
BY_EXCEPTION: tuple[tuple[tuple[type[Exception], ...], Kind], ...] = (
    (
        (boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError, boto.SSOError),
        _NO_CREDENTIALS,
    ),
    # botocore's word for a role's credentials that are expired also after their refresh
    ((RuntimeError,), _NO_CREDENTIALS),
    # ResponseParserError: an answer cut short, or a page of some other server
    ((boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, ResponseParserError), _UNREACHABLE),
    ((HTTPError, OSError), _UNREACHABLE),
)

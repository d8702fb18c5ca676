"""What botocore raises, as StoreError.

The service's own error code decides first, then the HTTP status: stores that only resemble S3 agree more on the former.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError

_MESSAGE_LIMIT = 300  # characters of the store's own words


@dataclass(frozen=True, slots=True)
class _Kind:
    error: type[StoreError]
    code: ErrorCode
    hint: str


_UNREACHABLE = _Kind(
    TransientStoreError,
    ErrorCode.STORE_UNREACHABLE,
    "Check store.s3.endpoint_url, the network and the state of the store.",
)
_CORRUPT = _Kind(
    TransientStoreError,
    ErrorCode.UPLOAD_CORRUPT,
    "What arrived was not what was sent. If it goes on, suspect the network, a proxy or the memory of a host.",
)
_DENIED = _Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Check the access key and its policy (s3:ListBucket, GetObject, PutObject, DeleteObject), and this host's clock.",
)
_NO_CREDENTIALS = _Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Set store.s3.access_key_id and secret_access_key, or provide credentials in the AWS environment, files or role.",
)
_FULL = _Kind(StoreError, ErrorCode.STORE_FULL, "Free space in the store or have the quota raised, then try again.")
_NO_BUCKET = _Kind(
    StoreError, ErrorCode.STORE_MISSING, "Check the bucket in store.url, or set store.create to have it made."
)
_NO_OBJECT = _Kind(MissingError, ErrorCode.OBJECT_MISSING, "Check the store's URL and the backup's id.")
_ELSEWHERE = _Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.s3.region to the bucket's region, and store.s3.endpoint_url to where the store really is (https?).",
)
_UNTRUSTED = _Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.s3.ca_bundle to the CA of the store's certificate, and check the host in store.s3.endpoint_url.",
)
_FAILED = _Kind(
    StoreError, ErrorCode.STORE_FAILED, "Check store.url, store.s3 and the store's own log for what it did not like."
)

_BY_CODE = {
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "BucketAlreadyExists": _DENIED,
    "ExpiredToken": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "InvalidToken": _DENIED,
    "RequestTimeTooSkewed": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "TokenRefreshRequired": _DENIED,
    "IncompleteBody": _UNREACHABLE,
    "InternalError": _UNREACHABLE,
    "OperationAborted": _UNREACHABLE,
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
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "301": _ELSEWHERE,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
}
_BY_STATUS = {
    **dict.fromkeys((401, 403), _DENIED),
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), _UNREACHABLE),
    **dict.fromkeys((413, 507), _FULL),
}
# The first that fits decides.
_BY_EXCEPTION: tuple[tuple[tuple[type[Exception], ...], _Kind], ...] = (
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


@contextmanager
def translated(operation: str, place: str) -> Iterator[None]:
    """`operation` and `place` are for the operator: what was done, to which URL."""
    try:
        yield
    except boto.ClientError as error:
        kind, cause = _judge_answer(error)
        raise kind.error(kind.code, f"can't {operation} {place}: {cause}", kind.hint) from error
    except (boto.BotoCoreError, ResponseParserError, HTTPError, OSError, RuntimeError) as error:
        kind = _judge_failure(error)
        raise kind.error(kind.code, f"can't {operation} {place}: {_describe(error)}", kind.hint) from error


def _judge_answer(error: boto.ClientError) -> tuple[_Kind, str]:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "")[:_MESSAGE_LIMIT]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, _FAILED)
    if status == HTTPStatus.NOT_FOUND and error.operation_name == "HeadBucket":  # without a body, and so without a code
        kind = _NO_BUCKET
    words = [f"HTTP {status}"] + [word for word in (code, message) if word and word != str(status)]
    return kind, ", ".join(words)


def _judge_failure(error: Exception) -> _Kind:
    if isinstance(error, boto.SSLError) and _untrusted(error):
        return _UNTRUSTED
    if _endlessly_redirected(error):
        return _ELSEWHERE
    return next((kind for types, kind in _BY_EXCEPTION if isinstance(error, types)), _FAILED)


def _endlessly_redirected(error: Exception) -> bool:
    """The HTTP client wraps whatever ends a request, where the recursion happens to meet its limit."""
    inner = error.kwargs.get("error") if isinstance(error, boto.HTTPClientError) else error
    return isinstance(inner, RecursionError)


def _untrusted(error: boto.SSLError) -> bool:
    cause: object = error.kwargs.get("error")
    while isinstance(cause, Exception):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.args[0] if cause.args else None
    return False


def _describe(error: Exception) -> str:
    """One line. botocore's messages hold URLs, which are unsigned, and never keys."""
    if _endlessly_redirected(error):  # botocore asks whither a redirection leads, is redirected, and so on
        return "it redirects every request"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MESSAGE_LIMIT]}"

"""What botocore raises, as StoreError. What it means, `s3_kinds` says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from backup_agent.errors import TransientStoreError
from backup_agent.storage.retry_after import http_date, retry_after_s
from backup_agent.storage.s3_kinds import (
    BY_CODE,
    BY_EXCEPTION,
    BY_HEAD,
    BY_STATUS,
    DENIED,
    ELSEWHERE,
    FAILED,
    HEADER_REFUSALS,
    LOCK_WORDS,
    LOCKED,
    NO_KMS_KEY,
    SKEWED,
    UNTRUSTED,
    Kind,
)

_MESSAGE_LIMIT = 300  # characters of the store's own words


@contextmanager
def translated(operation: str, place: str) -> Iterator[None]:
    """`operation` and `place` are for the operator: what was done, to which URL."""
    try:
        yield
    except boto.ClientError as error:
        kind, cause = _judge_answer(error)
        message = f"can't {operation} {place}: {cause}"
        if kind.error is TransientStoreError:
            rest = retry_after_s(_headers(error), datetime.now(UTC))
            raise TransientStoreError(kind.code, message, kind.hint, retry_after_s=rest) from error
        raise kind.error(kind.code, message, kind.hint) from error
    except (boto.BotoCoreError, ResponseParserError, HTTPError, OSError, RuntimeError) as error:
        kind = _judge_failure(error)
        raise kind.error(kind.code, f"can't {operation} {place}: {_describe(error)}", kind.hint) from error


def _judge_answer(error: boto.ClientError) -> tuple[Kind, str]:
    code, message = _said(error, "Code"), _said(error, "Message")[:_MESSAGE_LIMIT]
    status = status_of(error)
    kind = BY_CODE.get(code) or BY_STATUS.get(status, FAILED)
    if status == HTTPStatus.NOT_FOUND and error.operation_name in BY_HEAD:  # without a body, and so without a code
        kind = BY_HEAD[error.operation_name]
    elif code.startswith("KMS."):
        kind = NO_KMS_KEY
    elif kind is DENIED and LOCK_WORDS.search(message):
        kind = LOCKED
    words = [f"HTTP {status}"] + [word for word in (code, message) if word and word != str(status)]
    if kind is SKEWED:
        words += _skew(_headers(error).get("date", ""), datetime.now(UTC))
    return kind, ", ".join(words)


def _skew(date: str, now: datetime) -> list[str]:
    """What there is to say of it, if the store has told its time."""
    theirs = http_date(date)
    if theirs is None:
        return []
    ahead = (now - theirs).total_seconds()
    return [f"this host's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store's"]


def refuses_a_header(error: boto.ClientError) -> bool:
    """Whether the store may have refused the request because of a header that it does not know."""
    return _said(error, "Code") in HEADER_REFUSALS or status_of(error) == HTTPStatus.NOT_IMPLEMENTED


def is_in_the_way(error: boto.ClientError) -> bool:
    """Whether the store refused to replace an object."""
    return status_of(error) == HTTPStatus.PRECONDITION_FAILED


def is_unmet(error: boto.ClientError) -> bool:
    """Whether the store refused to put an object where none, or another one, is."""
    return is_in_the_way(error) or _said(error, "Code") == "NoSuchKey"


def _said(error: boto.ClientError, name: str) -> str:
    """Empty also where botocore has None, for an element without text."""
    return str(error.response.get("Error", {}).get(name) or "")


def status_of(error: boto.ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _headers(error: boto.ClientError) -> Mapping[str, str]:
    return error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})


def _judge_failure(error: Exception) -> Kind:
    if isinstance(error, boto.SSLError) and _untrusted(error):
        return UNTRUSTED
    if _endlessly_redirected(error):
        return ELSEWHERE
    return next((kind for types, kind in BY_EXCEPTION if isinstance(error, types)), FAILED)


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

"""What Swift and Keystone answer, and what the libraries on the way to them raise, as StoreError.

The HTTP status decides. Tokens and keys travel in headers and in the body of one request, so no message below can hold
one: the libraries' messages name hosts, ports and paths.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import requests
from keystoneauth1 import exceptions as keystone
from urllib3.exceptions import HTTPError

from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError
from backup_agent.storage.retry_after import retry_after_s

_WORDS_READ = 2000  # bytes of an answer that refuses
_WORDS_TOLD = 300  # characters of them
_TAG = re.compile(r"<[^>]*>")
_RATE_LIMITED = 498  # Swift's own, of its middleware `ratelimit`
_CLIENT_DISCONNECT = 499  # Swift's own: it has lost a client whom a proxy in between has not


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of failure: what the caller gets, and what the operator is to do."""

    error: type[StoreError]
    code: ErrorCode
    hint: str


UNREACHABLE = Kind(
    TransientStoreError,
    ErrorCode.STORE_UNREACHABLE,
    "Check store.swift.auth_url, where the storage URL leads to, the network and the state of the store.",
)
CORRUPT = Kind(
    TransientStoreError,
    ErrorCode.UPLOAD_CORRUPT,
    "What arrived was not what was sent. If it goes on, suspect the network, a proxy or the memory of a host.",
)
NO_CONTAINER = Kind(
    StoreError,
    ErrorCode.STORE_MISSING,
    "Check store.url, store.container and store.swift, or set store.create to have the container made.",
)
NO_OBJECT = Kind(MissingError, ErrorCode.OBJECT_MISSING, "Check the store's URL and the backup's id.")
IN_THE_WAY = Kind(
    StoreError, ErrorCode.OBJECT_EXISTS, "Find out who put it there, and move it away; it was left as it is."
)
FAILED = Kind(
    StoreError, ErrorCode.STORE_FAILED, "Check store.url, store.swift and the store's own log for what it did not like."
)
NO_LOGIN = Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Check store.swift: auth, auth_url, user, key, and the project or the application credential.",
)
NO_ENDPOINT = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Check store.swift.project, region and interface, or set store.swift.storage_url.",
)
_DENIED = Kind(
    StoreError,
    ErrorCode.STORE_DENIED,
    "Give the user of store.swift a role or an ACL that lets it read, write, list and delete in the account.",
)
_FULL = Kind(StoreError, ErrorCode.STORE_FULL, "Free space in the store or have the quota raised, then try again.")
_UNTRUSTED = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.swift.ca_bundle to the CA of the certificate, and check the host's name in the URL.",
)
_ELSEWHERE = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Set store.swift.auth_url, and store.swift.storage_url if need be, to where the store really is (https?).",
)
_PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,  # something newer is there, by another clock, or is just being removed
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    _RATE_LIMITED,
    _CLIENT_DISCONNECT,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_BY_STATUS: dict[int, Kind] = {
    **dict.fromkeys((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN), _DENIED),
    **dict.fromkeys(_PASSING, UNREACHABLE),
    # Of an object larger than allowed, Swift says the same; but no chunk is larger than 5 GiB.
    **dict.fromkeys((HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.INSUFFICIENT_STORAGE), _FULL),
    HTTPStatus.UNPROCESSABLE_ENTITY: CORRUPT,
    **dict.fromkeys(
        (
            HTTPStatus.MOVED_PERMANENTLY,
            HTTPStatus.FOUND,
            HTTPStatus.SEE_OTHER,
            HTTPStatus.TEMPORARY_REDIRECT,
            HTTPStatus.PERMANENT_REDIRECT,
        ),
        _ELSEWHERE,
    ),
}
NO_LOGIN_THERE = Kind(
    StoreError,
    ErrorCode.STORE_FAILED,
    "Check store.swift.auth_url, and whether store.swift.auth (v1, v3) is the kind of login that answers there.",
)
_LOGIN_BY_STATUS: dict[int, Kind] = {
    **_BY_STATUS,
    **dict.fromkeys((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN), NO_LOGIN),
    HTTPStatus.UNPROCESSABLE_ENTITY: NO_LOGIN_THERE,
}


def failure(kind: Kind, operation: str, place: str, cause: str, *, retry_after: float | None = None) -> StoreError:
    """`operation` and `place` are for the operator: what was done, to which URL. `retry_after` in seconds."""
    message = f"can't {operation} {place}: {cause}"
    if kind.error is TransientStoreError:
        return TransientStoreError(kind.code, message, kind.hint, retry_after_s=retry_after)
    return kind.error(kind.code, message, kind.hint)


def refusal(operation: str, place: str, answer: requests.Response) -> StoreError:
    """What an answer that is none of those expected means. Reads its body."""
    kind = _BY_STATUS.get(answer.status_code, FAILED)
    return failure(kind, operation, place, _told(answer), retry_after=_rest(answer))


def login_refusal(place: str, answer: requests.Response) -> StoreError:
    """The same of an answer to a user and a key."""
    kind = _LOGIN_BY_STATUS.get(answer.status_code, NO_LOGIN_THERE)
    return failure(kind, "log in at", place, _told(answer), retry_after=_rest(answer))


@contextmanager
def translated(operation: str, place: str) -> Iterator[None]:
    """For everything that talks to Swift or Keystone; `operation` and `place` as in `failure`."""
    try:
        yield
    except keystone.HttpError as error:
        kind = _LOGIN_BY_STATUS.get(error.http_status, NO_LOGIN_THERE)
        rest = None if error.response is None else _rest(error.response)
        raise failure(kind, operation, place, _one_line(error), retry_after=rest) from error
    except keystone.CatalogException as error:
        raise failure(NO_ENDPOINT, operation, place, _one_line(error)) from error
    except keystone.InvalidResponse as error:  # a redirection, or a page of some other server
        raise failure(NO_LOGIN_THERE, operation, place, _one_line(error)) from error
    except (keystone.ClientException, requests.RequestException, HTTPError, OSError) as error:
        raise failure(_judge(error), operation, place, _one_line(error)) from error


def _judge(error: Exception) -> Kind:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return _UNTRUSTED
    unusable = (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, requests.exceptions.InvalidSchema)
    if isinstance(error, (*unusable, requests.TooManyRedirects)):
        return FAILED
    return UNREACHABLE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, as the libraries wrap: by cause, by context, as an argument or a `reason`."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [found for found in inner if isinstance(found, BaseException)]


def _told(answer: requests.Response) -> str:
    """Status, the store's own words, and the transaction under which it logs."""
    try:
        body = answer.raw.read(_WORDS_READ, decode_content=True) or b""
    except (HTTPError, OSError):
        body = b""  # the status says enough, and is what decides
    words = _TAG.sub(" ", body.decode("utf-8", "replace")).split()
    parts = [f"HTTP {answer.status_code} {answer.reason or ''}".strip(), " ".join(words)[:_WORDS_TOLD]]
    if transaction := answer.headers.get("X-Trans-Id") or answer.headers.get("X-Openstack-Request-Id"):
        parts.append(f"transaction {transaction}")
    return ", ".join(part for part in parts if part)


def _rest(answer: requests.Response) -> float | None:
    return retry_after_s({name.lower(): value for name, value in answer.headers.items()}, datetime.now(UTC))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_WORDS_TOLD]}"

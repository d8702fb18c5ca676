"""A store in an account of OpenStack Swift, or of what speaks its API (Ceph RGW, many providers).

The first part of a key is a container, a real one. Objects are put in one request each (no segments), so they may have
at most 5 GiB. Listings are Swift's: they may lag behind what was put and deleted (docs/swift.md). What must be
found is got by its key, which does not lag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import requests

from backup_agent.errors import StoreError
from backup_agent.storage.interface import StoredObject, md5_hex
from backup_agent.storage.keys import check_key, check_parent, check_prefix, is_key, is_part
from backup_agent.storage.swift_account import Account, read
from backup_agent.storage.swift_client import SwiftOptions
from backup_agent.storage.swift_errors import (
    CORRUPT,
    IN_THE_WAY,
    NO_CONTAINER,
    NO_OBJECT,
    UNREACHABLE,
    failure,
    refusal,
)

_PAGE_LIMIT = 64 << 20
"""Bytes read of a page of a listing at most: 10,000 entries, the usual most, of 1,024 bytes of name, escaped."""


class SwiftStore:
    """Implements `Store`. Logs in with the first request. `close` ends its idle connections."""

    def __init__(self, account: str | None, *, create: bool, options: SwiftOptions) -> None:
        """`account`, such as `AUTH_1234`, takes the place of the one that the login leads to. `create` lets `prepare`
        make the container.
        """
        self._account = Account(account, options)
        self._create = create

    @property
    def url(self) -> str:
        return self._account.url

    def prepare(self, container: str) -> None:
        """Raises `store_denied` also when the user may not look at the container: it could not list it either."""
        check_key(container)
        with self._account.asked("reach", container, "HEAD") as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return
            if answer.status_code != HTTPStatus.NOT_FOUND:
                raise refusal("reach", self._account.place(container), answer)
        if not self._create:
            raise self._no_container("reach", container)
        with self._account.asked("make", container, "PUT", body=b"") as answer:
            if answer.status_code not in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
                raise refusal("make", self._account.place(container), answer)

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        del sha256  # Swift confirms by MD5
        check_key(key)
        md5 = md5_hex(body)
        headers = {"ETag": md5, "Content-Type": "application/octet-stream"} | ({"If-None-Match": "*"} if once else {})
        with self._account.asked("put", key, "PUT", headers=headers, body=body) as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise self._no_container("put", key)
            exists = once and answer.status_code == HTTPStatus.PRECONDITION_FAILED
            if not exists and not HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
                raise refusal("put", self._account.place(key), answer)
            etag = _etag(answer)
        if exists:
            self._recognise(key, md5)
        elif etag != md5:
            cause = f"the store confirmed the digest {etag or '(none)'} and not {md5}"
            raise failure(CORRUPT, "put", self._account.place(key), cause)

    def get(self, key: str, *, limit: int) -> bytes:
        check_key(key)
        with self._account.asked("get", key, "GET") as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise self._absent("get", key)
            if answer.status_code != HTTPStatus.OK:
                raise refusal("get", self._account.place(key), answer)
            announced = answer.headers.get("Content-Length", "")
            if not announced.isdecimal():
                raise failure(UNREACHABLE, "get", self._account.place(key), "the store announces no length")
            expected = min(limit, int(announced))
            body = read(answer, expected)
        if len(body) < expected:
            cause = f"the transfer ended after {len(body)} of {expected} bytes"
            raise failure(UNREACHABLE, "get", self._account.place(key), cause)
        return body

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Raises `store_missing` when the container that `prefix` begins with does not exist."""
        check_prefix(prefix)
        container, slash, below = prefix.partition("/")
        for name in [container] if slash else self._containers(container):
            for entry in self._entries(name, {"prefix": below} if below else {}):
                key = f"{name}/{entry['name']}"
                if is_key(key):  # others, such as consoles' markers for folders, are not ours
                    yield StoredObject(key, entry["bytes"], _time(entry.get("last_modified")))

    def children(self, prefix: str) -> Iterator[str]:
        """Raises `store_missing` as `list` does."""
        check_parent(prefix)
        if not prefix:
            yield from self._containers("")
            return
        container, _, below = prefix.partition("/")
        for entry in self._entries(container, {"prefix": below, "delimiter": "/"}):
            name = entry.get("subdir", "").removeprefix(below).removesuffix("/")
            if is_part(name):
                yield name

    def delete(self, key: str) -> None:
        check_key(key)
        with self._account.asked("delete", key, "DELETE") as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return
            if answer.status_code != HTTPStatus.NOT_FOUND:
                raise refusal("delete", self._account.place(key), answer)
        self._check_container("delete", key)

    def close(self) -> None:
        """For the end of the program. A later request opens connections anew."""
        self._account.close()

    def _containers(self, prefix: str) -> Sequence[str]:
        """In the order of the keys in them. An account without any was never prepared, and is reported missing."""
        names = [entry["name"] for entry in self._entries("", {})]
        if not names:
            raise self._no_container("list", "")
        return sorted(
            (name for name in names if is_part(name) and name.startswith(prefix)), key=lambda name: f"{name}/"
        )

    def _entries(self, container: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Page after page, until one is empty: how many entries a page may have is the cluster's choice."""
        marker: str | None = None
        while page := self._page(container, {**query, "format": "json"} | ({"marker": marker} if marker else {})):
            following = page[-1].get("name") or page[-1]["subdir"]
            if marker is not None and following <= marker:
                raise failure(UNREACHABLE, "list", self._account.place(container), "the listing does not go on")
            yield from page
            marker = following

    def _page(self, container: str, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        with self._account.asked("list", container, "GET", query=query) as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise self._no_container("list", container)
            if answer.status_code not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                raise refusal("list", self._account.place(container), answer)
            text = read(answer, _PAGE_LIMIT)
        try:
            page: object = json.loads(text) if answer.status_code == HTTPStatus.OK else []
        except ValueError as error:
            raise failure(
                UNREACHABLE, "list", self._account.place(container), "the answer is not a whole listing"
            ) from error
        if not isinstance(page, list) or not all(map(_is_entry, page)):
            raise failure(UNREACHABLE, "list", self._account.place(container), "the answer is not a listing")
        return page

    def _recognise(self, key: str, md5: str) -> None:
        """What lies under a key that is written once must be this body: an earlier put of it, whose answer was lost."""
        with self._account.asked("put", key, "HEAD") as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:  # it has gone meanwhile: the next try will put it
                raise failure(UNREACHABLE, "put", self._account.place(key), "what lay there has just been removed")
            if answer.status_code != HTTPStatus.OK:
                raise refusal("put", self._account.place(key), answer)
            if _etag(answer) == md5:
                return
        raise failure(IN_THE_WAY, "put", self._account.place(key), "something else lies there")

    def _absent(self, operation: str, key: str) -> StoreError:
        """A 404 says neither whether the object or its container is missing."""
        self._check_container(operation, key)
        return failure(NO_OBJECT, operation, self._account.place(key), "there is no such object")

    def _check_container(self, operation: str, key: str) -> None:
        container = key.partition("/")[0]
        with self._account.asked(operation, container, "HEAD") as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise self._no_container(operation, key)
            if answer.status_code != HTTPStatus.NO_CONTENT:
                raise refusal(operation, self._account.place(key), answer)

    def _no_container(self, operation: str, key: str) -> StoreError:
        cause = f"there is no container {key.partition('/')[0]}" if key else "there is no container"
        return failure(NO_CONTAINER, operation, self._account.place(key), cause)


def _etag(answer: requests.Response) -> str:
    return answer.headers.get("ETag", "").strip('"')


def _time(text: object) -> datetime | None:
    """Swift tells UTC, and does not say so."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    return isinstance(entry.get("subdir"), str) or (
        isinstance(entry.get("name"), str) and isinstance(entry.get("bytes"), int)
    )

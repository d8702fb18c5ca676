"""An account of Swift, as HTTP shows it: requests with a token, to its storage URL, whoever's it is.

Knows nothing of what is asked, and judges no answer but the one that refuses the token.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import cast
from urllib.parse import quote, urlsplit, urlunsplit

import requests

from backup_agent.storage.swift_client import Blocks, SwiftOptions, open_session, trust
from backup_agent.storage.swift_errors import NO_ENDPOINT, failure, translated
from backup_agent.storage.swift_login import Login, login_of
from backup_agent.storage.swift_tokens import Tokens

_ACCOUNT_AT_END = re.compile(r"/v[0-9.]+/(?P<account>[^/]+)/*$")


class Account:
    """Safe from any thread. Logs in with the first request."""

    def __init__(self, name: str | None, options: SwiftOptions) -> None:
        """`name`, such as `AUTH_1234`, takes the place of the account that the login leads to."""
        self._name = name
        self._options = options
        self._lock = threading.Lock()
        self._made: tuple[requests.Session, Tokens] | None = None

    @property
    def url(self) -> str:
        return f"swift://{self._name or ''}"

    def place(self, key: str) -> str:
        return f"{self.url}/{key}"

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made[0].close()

    @contextmanager
    def asked(
        self,
        operation: str,
        key: str,
        method: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | bytearray | None = None,
    ) -> Iterator[requests.Response]:
        """The answer, whatever its status. A refused token is replaced, once. What the block raises is translated."""
        session, tokens = self._connection

        def send(login: Login) -> requests.Response:
            return session.request(
                method,
                f"{self._storage_url(login)}/{quote(key)}".removesuffix("/"),
                params=query,
                headers={"X-Auth-Token": login.token, **(headers or {})},
                data=cast("bytes", Blocks(body)) if body else body,  # the stubs want iterables of bytes alone
                allow_redirects=False,
                stream=True,
                verify=trust(self._options),
            )

        with translated(operation, self.place(key)):
            login = tokens.current()
            answer = send(login)
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                answer.close()
                answer = send(tokens.renewed(login))
            with answer:
                yield answer
                if answer.raw.length_remaining == 0:
                    answer.raw.read(1)  # so that it notices, and the connection is used again

    def _storage_url(self, login: Login) -> str:
        if self._name is None:
            return login.storage_url.rstrip("/")
        parts = urlsplit(login.storage_url)
        found = _ACCOUNT_AT_END.search(parts.path)
        if found is None:
            cause = (
                f"the login leads to {login.storage_url}, which names no account that another could take the place of"
            )
            raise failure(NO_ENDPOINT, "reach", self.url, cause)
        return urlunsplit(parts._replace(path=parts.path[: found.start("account")] + quote(self._name)))

    @property
    def _connection(self) -> tuple[requests.Session, Tokens]:
        with self._lock:
            if self._made is None:
                session = open_session(self._options)
                self._made = (session, Tokens(login_of(self._options, session)))
            return self._made


def read(answer: requests.Response, size: int) -> bytes:
    """So many bytes of its body, or all there are. urllib3 raises when there are fewer than were announced."""
    pieces, got = [], 0
    while got < size and (piece := answer.raw.read(size - got, decode_content=False)):
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)

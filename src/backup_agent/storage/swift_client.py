"""The connection to Swift and Keystone: what it takes, and the HTTP session that all threads share.

`requests` alone, because it is what keystoneauth1 speaks through anyway: docs/adr/0012 says why nothing above it.
Proxies come from the environment (`https_proxy`, `no_proxy`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from backup_agent.errors import ConfigError, ErrorCode

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftOptions:
    """How to log in and where to go; time-outs in seconds."""

    auth_url: str
    auth: Literal["v1", "v3"] = "v3"
    user: str | None = None
    key: str = field(default="", repr=False)
    """Of the user (v1), its password (v3), or the application credential's secret."""
    user_domain: str = "Default"
    project: str | None = None
    project_id: str | None = None
    project_domain: str = "Default"
    application_credential_id: str | None = None
    region: str | None = None
    interface: Literal["public", "internal", "admin"] = "public"
    storage_url: str | None = None
    """In place of the one that the login gives."""
    ca_bundle: Path | None = None
    connect_timeout_s: float = 10
    """Also how long one write to the connection may take."""
    read_timeout_s: float = 60
    """How long the store may stay silent."""
    connections: int = 16
    """Kept open at most; more threads than that open connections for one request."""


def open_session(options: SwiftOptions) -> requests.Session:
    """Safe to share between threads, as it is used here: it never retries, follows no redirection of ours, knows no
    cookies' owner, and reads no ~/.netrc. Opens no connection yet.

    Raises ConfigError when the options can't be used.
    """
    _check(options)
    session = requests.Session()
    session.auth = _as_it_is
    session.headers["User-Agent"] = "backup-agent"
    session.headers["Accept-Encoding"] = "identity"  # chunks are compressed already, and counted by their length
    adapter = _Adapter((options.connect_timeout_s, options.read_timeout_s), options.connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def trust(options: SwiftOptions) -> bool | str:
    """For each request: what is set at a session gives way to REQUESTS_CA_BUNDLE, what is set at a request does not."""
    return True if options.ca_bundle is None else str(options.ca_bundle)


class Blocks:
    """A body in blocks: a time-out bounds each of them, and not the sending of all."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._view = memoryview(body)

    def __len__(self) -> int:
        return len(self._view)

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self._view), _BLOCK):
            yield self._view[start : start + _BLOCK]


class _Adapter(HTTPAdapter):
    """Bounds every request by the same time-outs, those that keystoneauth1 makes included."""

    def __init__(self, timeout: tuple[float, float], connections: int) -> None:
        self._timeout = timeout
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as it is
        keepalive = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        super().init_poolmanager(
            *arguments, socket_options=[*HTTPConnection.default_socket_options, keepalive], **options
        )

    def send(  # noqa: PLR0917 - as the library has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - as the library has it
        timeout: Any = None,  # noqa: ANN401 - the same
        verify: bool | str = True,  # noqa: FBT001, FBT002 - the same
        cert: Any = None,  # noqa: ANN401 - the same
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        del timeout
        return super().send(request, stream, self._timeout, verify, cert, proxies)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without an `auth` of its own, a session would add what ~/.netrc has for the host."""
    return request


def _check(options: SwiftOptions) -> None:
    """Finds what the libraries would only complain of at the first request, or would put into their messages."""
    _check_url("auth_url", options.auth_url)
    if options.storage_url is not None:
        _check_url("storage_url", options.storage_url)
    if options.ca_bundle is not None and not options.ca_bundle.is_file():
        raise _unusable(f"ca_bundle {options.ca_bundle} is not a file", "Name a file of CA certificates (PEM).")
    if not options.key:
        raise _unusable("key is missing", "Set store.swift.key or store.swift.key_file.")
    if options.key != options.key.strip() or not options.key.isprintable():
        raise _unusable("key begins or ends with a space, or has a control character", "Write it on a line alone.")


def _check_url(name: str, url: str) -> None:
    hint = f"Set store.swift.{name} to http(s)://host[:port]/path, without user, key or query."
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        raise _unusable(f"{name} can't be read", hint) from None  # its message repeats a part of the URL
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _unusable(f"{name} is no http(s) URL", hint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _unusable(f"{name} holds credentials, a query or a fragment", hint)
    if "{" in url or "}" in url:
        raise _unusable(f"{name} has a placeholder", "Only storage_url may have one, and only {account_id}.")


def _unusable(what: str, hint: str) -> ConfigError:
    return ConfigError(ErrorCode.CONFIG_INVALID, f"store.swift.{what}", hint)

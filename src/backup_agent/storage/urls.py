"""The store's URL: which kind of store, and where.

`file:///directory`, `s3://bucket[/prefix]` or `swift://[account]`, with `{account_id}` replaced. Nothing else is taken:
no host, port, query, fragment or credentials. Error messages never repeat the URL, because a refused one may hold a
secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.storage.keys import is_key

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.~-]{1,256}")
_HINT = (
    "Set store.url to file:///directory, s3://bucket[/prefix] or swift://[account];"
    " `{account_id}` in it becomes the account's id."
)
_CREDENTIALS_HINT = (
    "Put S3 keys into store.s3.access_key_id and store.s3.secret_access_key, or use the AWS files or roles;"
    " Swift's go into store.swift."
)


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A directory of this host."""

    directory: Path


@dataclass(frozen=True, slots=True)
class S3Url:
    """A bucket, and the prefix of all keys in it: without slashes at its ends, possibly empty."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class SwiftUrl:
    """An account, such as `AUTH_1234`; None for the one that the login leads to."""

    account: str | None


StoreUrl = FileUrl | S3Url | SwiftUrl


def parse_store_url(text: str, *, account_id: str) -> StoreUrl:
    """Raises ConfigError (`store_url`)."""
    filled = text.replace("{account_id}", account_id)
    if "{" in filled or "}" in filled:
        raise _error("has a placeholder other than {account_id}")
    try:
        parts = urlsplit(filled)
    except ValueError:
        raise _error("can't be read") from None  # its message repeats a part of the URL
    if "@" in parts.netloc:
        raise _error("holds credentials", _CREDENTIALS_HINT)
    if "?" in filled or "#" in filled:
        raise _error("has a query or a fragment", "Options have keys of their own in the section store.")
    match parts.scheme:
        case "file":
            return _file_url(parts)
        case "s3":
            return _s3_url(parts)
        case "swift":
            return _swift_url(parts)
        case "" if filled.startswith("/"):
            raise _error("is a path and no URL", "For a directory, write file:// before it.")
        case _:
            raise _error("is of no known kind")


def _file_url(parts: SplitResult) -> FileUrl:
    if parts.netloc not in ("", "localhost"):
        raise _error("names a host, or a relative directory", "Write three slashes: file:///directory.")
    path = unquote(parts.path)
    if not path.startswith("/"):
        raise _error("names a relative directory", "Write three slashes: file:///directory.")
    directory = Path("/" + path.lstrip("/"))  # to pathlib, two slashes at the start are another root
    if "\0" in path or ".." in directory.parts or directory == Path("/"):
        raise _error("names no usable directory")
    return FileUrl(directory)


def _s3_url(parts: SplitResult) -> S3Url:
    if not parts.netloc:
        raise _error("names no bucket")
    if _BUCKET.fullmatch(parts.netloc) is None:
        raise _error("names a bucket that can't exist", "An endpoint's host and port go into store.s3.endpoint_url.")
    prefix = parts.path.strip("/")
    if prefix and not is_key(prefix):
        raise _error("has a prefix with an empty part, or one that starts with a dot")
    return S3Url(parts.netloc, prefix)


def _swift_url(parts: SplitResult) -> SwiftUrl:
    if parts.path.strip("/"):
        raise _error(
            "names more than an account", "The container goes into store.container, the host into store.swift."
        )
    if parts.netloc and _ACCOUNT.fullmatch(parts.netloc) is None:
        raise _error(
            "names an account that can't exist", "Hosts and ports go into store.swift.auth_url and storage_url."
        )
    return SwiftUrl(parts.netloc or None)


def _error(what: str, hint: str = _HINT) -> ConfigError:
    return ConfigError(ErrorCode.STORE_URL, f"the store's URL {what}", hint)

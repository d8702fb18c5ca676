"""Tokens in a file, as SHA-256: a token is 256 bits of chance, so that its digest needs no salt and gives nothing away.

Whoever asks looks whether the file has changed: a revoked token ends at once, in all processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import Field, ValidationError

from backup_agent.api.callers import Caller
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import AccountId
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode, RejectedError

log = structlog.get_logger(__name__)

_BYTES = 32
_MODE = 0o640
_LONGEST = 512
"""Characters of a token at most."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Token(Frozen):
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    account_id: AccountId
    admin: bool = False
    comment: Annotated[str, Field(max_length=200)] = ""
    created: str
    sha256: Digest


class _File(Frozen):
    version: Literal[1] = 1
    tokens: Annotated[tuple[Token, ...], Field(strict=False)] = ()


class TokenFile:
    """The file as operators change it. Raises ConfigError (`config_invalid`) when it can't be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tokens(self) -> Sequence[Token]:
        return _read(self._path).tokens

    def add(self, account_id: str, *, admin: bool, comment: str, created: str) -> tuple[Token, str]:
        """The entry, and the token itself, which is nowhere else."""
        secret = secrets.token_urlsafe(_BYTES)
        token = Token(
            id=secrets.token_hex(4),
            account_id=account_id,
            admin=admin,
            comment=comment,
            created=created,
            sha256=_digest(secret),
        )
        with self._locked():
            self._write([*_read(self._path).tokens, token])
        return token, secret

    def revoke(self, token_id: str) -> None:
        """Raises RejectedError (`token_unknown`)."""
        with self._locked():
            tokens = _read(self._path).tokens
            left = [token for token in tokens if token.id != token_id]
            if len(left) == len(tokens):
                raise RejectedError(
                    ErrorCode.TOKEN_UNKNOWN,
                    f"there is no token {token_id[:32]}",
                    "`backup-agent api token list` shows the ids of those that are.",
                )
            self._write(left)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f"can't write {self._path}: {error.strerror}",
                "Run this as root or as the API's user, or let auth.tokens_file name another file.",
            ) from error

    def _write(self, tokens: Sequence[Token]) -> None:
        """At once, with the owner that the file or its directory has: root adds what the API's user is to read."""
        owner = self._path.stat() if self._path.exists() else self._path.parent.stat()
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        content = _File(tokens=tuple(tokens)).model_dump_json(indent=2)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), _MODE)
        draft.replace(self._path)


class TokenAuthenticator:
    """Raises ConfigError at the start for a file that can't be read; later, the last one that could be holds on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = _stamp(path)
        self._callers = _callers(_read(path).tokens)
        self._failing = False

    def remembered(self, token: str) -> Caller | None:
        return _look_up(self._callers, token) if _stamp(self._path) == self._seen else None

    def caller(self, token: str) -> Caller | None:
        return _look_up(self._known(), token)

    def _known(self) -> dict[str, tuple[str, Caller]]:
        stamp = _stamp(self._path)
        if stamp != self._seen:
            with self._lock:
                self._reload(stamp)
        return self._callers

    def _reload(self, stamp: object) -> None:
        try:
            self._callers = _callers(_read(self._path).tokens)
            self._failing = False
        except ConfigError as error:
            if not self._failing:
                self._failing = True
                log.error("the tokens can't be read again; the former ones hold", reason=error.message, hint=error.hint)  # noqa: TRY400 - it is no fault of the program
        self._seen = stamp


def _look_up(known: dict[str, tuple[str, Caller]], token: str) -> Caller | None:
    if not token or len(token) > _LONGEST:
        return None
    digest = _digest(token)
    found = known.get(digest)
    if found is None or not hmac.compare_digest(found[0], digest):
        return None
    return found[1]


def _callers(tokens: Sequence[Token]) -> dict[str, tuple[str, Caller]]:
    return {token.sha256: (token.sha256, Caller(token.account_id, token.admin)) for token in tokens}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> _File:
    """A file that is not there holds no tokens."""
    try:
        return _File.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _File()
    except OSError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read the tokens in {path}: {error.strerror}",
            "Make auth.tokens_file readable by the API's user.",
        ) from error
    except ValidationError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"{path} holds no tokens: {explain(error, 'the file')}",
            "Change it by `backup-agent api token` alone.",
        ) from error

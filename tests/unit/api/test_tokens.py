"""Tokens in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from backup_agent.api.callers import Caller
from backup_agent.api.tokens import TokenAuthenticator, TokenFile
from backup_agent.errors import ConfigError, ErrorCode, RejectedError

CREATED = "2026-11-25T12:00:00Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "tokens.json"


def test_a_token_is_its_accounts_until_it_is_revoked(path: Path) -> None:
    authenticator = TokenAuthenticator(path)
    entry, token = TokenFile(path).add("1234", admin=False, comment="for CI", created=CREATED)
    _, admin = TokenFile(path).add("ops", admin=True, comment="", created=CREATED)
    assert authenticator.caller(token) == Caller("1234", admin=False)
    assert authenticator.caller(admin) == Caller("ops", admin=True)
    TokenFile(path).revoke(entry.id)
    assert authenticator.caller(token) is None
    assert authenticator.caller(admin) == Caller("ops", admin=True)


def test_a_token_is_remembered_until_anything_changes(path: Path) -> None:
    entry, token = TokenFile(path).add("1234", admin=False, comment="", created=CREATED)
    authenticator = TokenAuthenticator(path)
    assert authenticator.remembered(token) == Caller("1234")
    assert authenticator.remembered("x" * 43) is None
    TokenFile(path).revoke(entry.id)
    assert authenticator.remembered(token) is None
    assert authenticator.caller(token) is None


def test_only_digests_are_kept_and_only_its_owner_and_group_read_them(path: Path) -> None:
    _, token = TokenFile(path).add("1234", admin=False, comment="for CI", created=CREATED)
    assert token not in path.read_text()
    assert len(token) >= 43  # 256 bits
    assert path.stat().st_mode & 0o777 == 0o640
    (shown,) = TokenFile(path).tokens()
    assert (shown.account_id, shown.comment) == ("1234", "for CI")


@pytest.mark.parametrize("token", ["", "x", "\ud800", "x" * 10_000])
def test_anything_else_is_nobodys(path: Path, token: str) -> None:
    TokenFile(path).add("1234", admin=False, comment="", created=CREATED)
    assert TokenAuthenticator(path).caller(token) is None


def test_the_digest_is_no_token(path: Path) -> None:
    entry, _ = TokenFile(path).add("1234", admin=True, comment="", created=CREATED)
    assert TokenAuthenticator(path).caller(entry.sha256) is None


def test_what_is_not_there_can_not_be_revoked(path: Path) -> None:
    TokenFile(path).add("1234", admin=False, comment="", created=CREATED)
    with pytest.raises(RejectedError) as caught:
        TokenFile(path).revoke("ffffffff")
    assert caught.value.code is ErrorCode.TOKEN_UNKNOWN


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tokens": [{"id": "1"}]}', '{"version": 2, "tokens": []}'])
def test_a_file_that_holds_no_tokens_is_fatal_at_the_start_and_later_the_former_hold(path: Path, content: str) -> None:
    _, token = TokenFile(path).add("1234", admin=False, comment="", created=CREATED)
    authenticator = TokenAuthenticator(path)
    path.write_text(content)
    with pytest.raises(ConfigError):
        TokenAuthenticator(path)
    with structlog.testing.capture_logs() as lines:
        assert authenticator.caller(token) == Caller("1234")
        assert authenticator.caller(token) == Caller("1234")
    assert [line["log_level"] for line in lines] == ["error"]
    path.write_text(json.dumps({"version": 1, "tokens": []}))
    assert authenticator.caller(token) is None

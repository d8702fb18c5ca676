from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.storage.urls import FileUrl, S3Url, StoreUrl, SwiftUrl, parse_store_url

ACCOUNT = "1234"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///srv/backups", FileUrl(Path("/srv/backups"))),
        ("file:///srv/backups/", FileUrl(Path("/srv/backups"))),
        ("file://localhost/srv", FileUrl(Path("/srv"))),
        ("file:////srv//backups", FileUrl(Path("/srv/backups"))),
        ("file:///srv/with%20space%23", FileUrl(Path("/srv/with space#"))),
        ("file:///srv/{account_id}/x", FileUrl(Path("/srv/1234/x"))),
        ("s3://bucket", S3Url("bucket", "")),
        ("s3://bucket/", S3Url("bucket", "")),
        ("S3://bucket.of-mine/some/prefix/", S3Url("bucket.of-mine", "some/prefix")),
        ("s3://backups-{account_id}/{account_id}", S3Url("backups-1234", "1234")),
        ("swift://", SwiftUrl(None)),
        ("swift:///", SwiftUrl(None)),
        ("swift://AUTH_{account_id}", SwiftUrl("AUTH_1234")),
        ("swift://AUTH_{account_id}/", SwiftUrl("AUTH_1234")),
    ],
)
def test_a_url_says_which_kind_of_store_and_where(text: str, expected: StoreUrl) -> None:
    assert parse_store_url(text, account_id=ACCOUNT) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is of no known kind"),
        ("/srv/backups", "is a path and no URL"),
        ("ftp://host/dir", "is of no known kind"),
        ("swift://AUTH_1234/container", "names more than an account"),
        ("swift:///container", "names more than an account"),
        ("swift://swift.example.org:8080", "names an account that can't exist"),
        ("file:backups", "names a relative directory"),
        ("file://backups/dir", "names a host, or a relative directory"),
        ("file://", "names a relative directory"),
        ("file:///", "names no usable directory"),
        ("file:///srv/../etc", "names no usable directory"),
        ("file:///srv/%2e%2e/etc", "names no usable directory"),
        ("file:///srv/%00", "names no usable directory"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket:9000/prefix", "names a bucket that can't exist"),
        ("s3://-bucket", "names a bucket that can't exist"),
        ("s3://bucket/a//b", "has a prefix with an empty part"),
        ("s3://bucket/../b", "has a prefix with an empty part, or one that starts with a dot"),
        ("s3://bucket/prefix?region=x", "has a query or a fragment"),
        ("file:///srv#x", "has a query or a fragment"),
        ("s3://bucket/{instance_id}", "has a placeholder other than {account_id}"),
        ("s3://[bucket", "can't be read"),
    ],
)
def test_a_url_that_is_none_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_store_url(text, account_id=ACCOUNT)

    assert caught.value.code is ErrorCode.STORE_URL
    assert complaint in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:hidden@bucket/prefix",
        "s3://hidden@bucket",
        "file://me:hidden@host/dir",
        "https://me:hidden@host/bucket",
        "swift://me:hidden@AUTH_1234",
        "s3://bucket/prefix?secret=hidden",
        "hidden:secret@bucket",
        "s3://me:hidden@[host",
    ],
)
def test_a_secret_in_a_refused_url_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_store_url(text, account_id=ACCOUNT)

    assert "hidden" not in "".join(traceback.format_exception(caught.value)) + caught.value.hint

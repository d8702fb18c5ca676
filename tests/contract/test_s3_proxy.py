"""A store on S3 that is reached by way of an HTTP proxy: one of the options, or of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import S3Options
from tests.contract.line import KEY, SMALL, Line, failure
from tests.servers.faultproxy import FaultProxy
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def forward(s3: S3Server) -> Iterator[FaultProxy]:
    """The S3 server takes requests with whole URLs, so this one does what a forwarding proxy does."""
    with FaultProxy(s3.port) as proxy:
        yield proxy


def put_and_get(line: Line, options: S3Options) -> None:
    with closing(S3Store(line.bucket, "", create=False, options=options)) as store:
        store.put(KEY, SMALL)
        assert store.get(KEY, limit=len(SMALL)) == SMALL


def test_requests_go_by_way_of_the_proxy_of_the_options(line: Line, s3: S3Server, forward: FaultProxy) -> None:
    proxy = forward.url.replace("//", "//me:hidden@")
    elsewhere = "http://localhost:1"  # where nobody listens

    put_and_get(line, replace(s3.options(endpoint_url=elsewhere), proxy=proxy))

    assert [request.split("?")[0] for request in forward.requests] == [
        f"{verb} {elsewhere}/{line.bucket}/{KEY}" for verb in ("PUT", "GET")
    ]


def test_the_environment_names_the_proxy_and_what_goes_without(
    line: Line, s3: S3Server, forward: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", forward.url)
    put_and_get(line, s3.options())
    assert len(forward.requests) == 2

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    put_and_get(line, s3.options())
    assert len(forward.requests) == 2


def test_a_proxy_that_does_not_answer_is_named_without_its_password(s3: S3Server) -> None:
    with FaultProxy(s3.port) as gone:
        pass
    options = replace(s3.options(), proxy=gone.url.replace("//", "//me:hidden@"))
    with closing(S3Store("bucket", "", create=False, options=options)) as store:
        error = failure(lambda: store.put(KEY, SMALL))

    assert error.code is ErrorCode.STORE_UNREACHABLE
    assert "proxy" in error.message.lower()
    assert "hidden" not in error.message + repr(options)


def test_a_proxy_that_is_no_url_is_found_before_the_first_request_and_not_repeated(s3: S3Server) -> None:
    options = replace(s3.options(), proxy="me:hidden@proxy:3128")

    with pytest.raises(ConfigError, match=r"store\.s3\.proxy is not a URL") as caught:
        S3Store("bucket", "", create=False, options=options).put(KEY, SMALL)

    assert "hidden" not in str(caught.value)

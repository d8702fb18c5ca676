"""What S3Store signs, seen on the wire: a body is hashed for its signature only where nothing else protects it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backup_agent.storage.s3 import S3Store
from tests.contract.line import Line
from tests.servers.certificate import write_certificate
from tests.servers.faultproxy import Exchange, FaultProxy, passed
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

BODY = b"a chunk" * 100_000
BODY_MD5 = b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()


def noting(heads: list[dict[str, str]]) -> Callable[[Exchange], None]:
    def step(exchange: Exchange) -> None:
        heads.append({name.lower(): value for name, value in exchange.headers.items()})
        passed()(exchange)

    return step


def head_of_put(line: Line, s3: S3Server, certificate: Path | None) -> dict[str, str]:
    heads: list[dict[str, str]] = []
    with FaultProxy(s3.port, certificate=certificate) as proxy:
        proxy.play(noting(heads))
        options = replace(s3.options(endpoint_url=proxy.url), ca_bundle=certificate)
        store = S3Store(line.bucket, "", create=False, options=options)
        store.put("box/k", BODY)
        store.close()
    assert line.direct.get("box/k", limit=len(BODY)) == BODY
    (head,) = heads
    return head


def test_over_tls_a_body_goes_unsigned_and_with_its_md5(line: Line, s3: S3Server, tmp_path: Path) -> None:
    head = head_of_put(line, s3, write_certificate(tmp_path / "certificate.pem"))

    assert head["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert head["content-md5"] == BODY_MD5
    assert "content-md5" in head["authorization"]  # among the signed headers: nobody exchanges it with the body


def test_without_tls_a_body_is_signed_as_well(line: Line, s3: S3Server) -> None:
    head = head_of_put(line, s3, None)

    assert head["x-amz-content-sha256"] == hashlib.sha256(BODY).hexdigest()
    assert head["content-md5"] == BODY_MD5

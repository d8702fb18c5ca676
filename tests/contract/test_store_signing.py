"""What S3Store sends with a body so that the store can prove to hold it, seen on the wire.

A body is hashed once more only for a store that does not know SHA-256 checksums.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, TransientStoreError
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import CHECKSUM_HEADER
from tests.contract.line import KEY, SMALL, Line, failure
from tests.servers.certificate import write_certificate
from tests.servers.faultproxy import Exchange, FaultProxy, Step, altered, answered, passed
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

SHA256 = hashlib.sha256(SMALL)
MD5_HEADER = b64encode(hashlib.md5(SMALL, usedforsecurity=False).digest()).decode()
SHA256_HEADER = b64encode(SHA256.digest()).decode()
IGNORANT = altered(without=(CHECKSUM_HEADER,))
"""A store that has never heard of checksums, and passes them by."""

Head = dict[str, str]


class Wire:
    """A store of its own, new, and the headers of the puts it sends."""

    def __init__(self, proxy: FaultProxy, store: S3Store) -> None:
        self.proxy = proxy
        self.store = store
        self.heads: list[Head] = []

    def put(self, *, then: Step | None = None, known: bool = True) -> Head:
        """The headers of the last request by which SMALL was put."""
        self.proxy.otherwise = self._noting(then or passed())
        self.store.put(KEY, SMALL, sha256=SHA256.hexdigest() if known else None)
        return self.heads[-1]

    def _noting(self, then: Step) -> Step:
        def step(exchange: Exchange) -> None:
            self.heads.append({name.lower(): value for name, value in exchange.headers.items()})
            then(exchange)

        return step


@contextmanager
def wire_to(line: Line, s3: S3Server, certificate: Path | None = None) -> Iterator[Wire]:
    with FaultProxy(s3.port, certificate=certificate) as proxy:
        options = replace(s3.options(endpoint_url=proxy.url), ca_bundle=certificate)
        with closing(S3Store(line.bucket, "", create=False, options=options)) as store:
            yield Wire(proxy, store)
    assert line.direct.get(KEY, limit=len(SMALL)) == SMALL


@pytest.fixture
def wire(line: Line, s3: S3Server) -> Iterator[Wire]:
    with wire_to(line, s3) as made:
        yield made


@pytest.fixture
def wire_with_tls(line: Line, s3: S3Server, tmp_path: Path) -> Iterator[Wire]:
    with wire_to(line, s3, write_certificate(tmp_path / "certificate.pem")) as made:
        yield made


def is_proven_by_sha256_alone(head: Head) -> bool:
    """The signature covers the checksum, and so the body: nobody exchanges either."""
    return (
        head["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        and head[CHECKSUM_HEADER] == SHA256_HEADER
        and CHECKSUM_HEADER in head["authorization"]
        and "content-md5" not in head
    )


def test_a_store_that_confirms_by_sha256_gets_no_other_digest_after_the_first_object(wire: Wire) -> None:
    first, second = wire.put(), wire.put()

    assert (first[CHECKSUM_HEADER], first["content-md5"]) == (SHA256_HEADER, MD5_HEADER)
    assert first["x-amz-content-sha256"] == SHA256.hexdigest()
    assert is_proven_by_sha256_alone(second)


def test_over_tls_no_body_is_signed(wire_with_tls: Wire) -> None:
    first, second = wire_with_tls.put(), wire_with_tls.put()

    assert first["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "content-md5" in first["authorization"]
    assert is_proven_by_sha256_alone(second)


def test_a_digest_that_nobody_knows_yet_is_computed(wire: Wire) -> None:
    wire.put(known=False)

    assert is_proven_by_sha256_alone(wire.put(known=False))


def test_a_store_that_does_not_confirm_by_sha256_gets_the_md5_and_a_signed_body(wire: Wire) -> None:
    wire.put(then=IGNORANT)
    second = wire.put(then=IGNORANT)

    assert CHECKSUM_HEADER not in second
    assert second["content-md5"] == MD5_HEADER
    assert second["x-amz-content-sha256"] == SHA256.hexdigest()


def test_over_tls_such_a_store_gets_an_unsigned_body_with_its_md5(wire_with_tls: Wire) -> None:
    wire_with_tls.put(then=IGNORANT)
    second = wire_with_tls.put(then=IGNORANT)

    assert CHECKSUM_HEADER not in second
    assert second["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert second["content-md5"] == MD5_HEADER
    assert "content-md5" in second["authorization"]


@pytest.mark.parametrize("refusal", [answered(400, "InvalidArgument"), answered(501, "NotImplemented")])
def test_a_store_that_refuses_checksums_is_not_sent_them_again(wire: Wire, refusal: Step) -> None:
    def refusing(exchange: Exchange) -> None:
        (refusal if CHECKSUM_HEADER in exchange.headers else passed())(exchange)

    wire.put(then=refusing)
    wire.put(then=refusing)

    assert [CHECKSUM_HEADER in head for head in wire.heads] == [True, False, False]


def test_a_store_that_no_longer_confirms_by_sha256_is_believed_only_by_its_md5(wire: Wire) -> None:
    wire.put()
    opaque = altered(without=(CHECKSUM_HEADER,), ETag='"opaque"')

    error = failure(lambda: wire.put(then=opaque))

    assert isinstance(error, TransientStoreError)
    assert error.code is ErrorCode.UPLOAD_CORRUPT
    assert wire.put(then=opaque)["content-md5"] == MD5_HEADER  # which the store compares

"""What proves that S3 holds the very bytes that were sent: docs/adr/0013 says why."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from backup_agent.errors import ErrorCode, TransientStoreError

_MD5_ETAG = re.compile(r"[0-9a-f]{32}")


class Digests:
    """Of one body, each computed when it is first asked for."""

    def __init__(self, body: bytes | bytearray | memoryview, sha256: str | None = None) -> None:
        """`sha256`, in hex, where it is known."""
        self._body = body
        self._known = sha256

    @cached_property
    def sha256(self) -> bytes:
        return bytes.fromhex(self._known) if self._known else hashlib.sha256(self._body).digest()

    @cached_property
    def md5(self) -> bytes:
        """A transport check, not a security measure."""
        return hashlib.md5(self._body, usedforsecurity=False).digest()

    def headers(self, *, sha256: bool, md5: bool) -> dict[str, str]:
        """Parameters of PutObject and UploadPart by which the store can compare what it gets."""
        headers: dict[str, str] = {}
        if sha256:
            headers |= {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": in_base64(self.sha256)}
        if md5:
            headers["ContentMD5"] = in_base64(self.md5)
        return headers

    def doubt(self, answer: Mapping[str, Any], *, sent_md5: bool) -> str | None:
        """Why the store's `answer` to these headers proves nothing; None when it does.

        A SHA-256 is one that the store has computed. Otherwise its ETag has to be the MD5, or, where it is none, the
        store has compared Content-MD5.
        """
        echoed: str = answer.get("ChecksumSHA256", "")
        if echoed:
            sent = in_base64(self.sha256)
            return None if echoed == sent else f"confirmed the SHA-256 {echoed} and not {sent}"
        etag: str = answer.get("ETag", "").strip('"')
        opaque = _is_kms(answer) or _MD5_ETAG.fullmatch(etag) is None
        if etag and (etag == self.md5.hex() or (opaque and sent_md5)):
            return None
        return f"confirmed the digest {etag or '(none)'} and not {self.md5.hex()}"


def same(answer: Mapping[str, Any], size: int, digests: Digests) -> bool | None:
    """Whether the object of which HeadObject tells has these digests; None when that does not tell."""
    if answer.get("ContentLength") != size:
        return False
    checksum: str = answer.get("ChecksumSHA256", "")
    if checksum and "-" not in checksum:  # with a dash it is one of parts' checksums
        return checksum == in_base64(digests.sha256)
    etag: str = answer.get("ETag", "").strip('"')
    return True if etag == digests.md5.hex() else None


def unconfirmed(place: str, doubt: str) -> TransientStoreError:
    return TransientStoreError(
        ErrorCode.UPLOAD_CORRUPT,
        f"put {place}, but the store {doubt}",
        "If it goes on, suspect the network, a proxy or the memory of one of the hosts.",
    )


def in_base64(digest: bytes) -> str:
    return b64encode(digest).decode("ascii")


def _is_kms(answer: Mapping[str, Any]) -> bool:
    return answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer

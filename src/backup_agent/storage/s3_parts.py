"""One object in several parts (multipart upload), for those that a store does not take in one request.

The parts are sent one after the other: other chunks are on their way at the same time. When that fails, what was sent
is discarded; what a killed process has sent stays in the bucket, unseen and paid for, until a rule of its life cycle
(AbortIncompleteMultipartUpload) removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from backup_agent.storage.s3_body import Body
from backup_agent.storage.s3_digests import Digests, in_base64, unconfirmed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program


def put_in_parts(
    client: S3Client,
    target: Mapping[str, Any],
    body: bytes | bytearray,
    part_size: int,
    *,
    headers: Mapping[str, Any],
    condition: Mapping[str, Any],
    sha256: bool,
    place: str,
) -> dict[str, Any]:
    """The answer to CreateMultipartUpload. `headers` go there, `condition` into the request that makes it an object.

    Every part is confirmed, by its SHA-256 if the store is known to compare that (`sha256`), or else by its MD5; and in
    the end the whole, by the digest of its parts' digests.
    """
    beginning: Any = {**target, **headers, **({"ChecksumAlgorithm": "SHA256"} if sha256 else {})}
    begun = client.create_multipart_upload(**beginning)
    upload = {**target, "UploadId": begun["UploadId"]}
    try:
        parts: list[Any] = []
        digests: list[Digests] = []
        for start in range(0, len(body), part_size):
            piece = memoryview(body)[start : start + part_size]
            digests.append(Digests(piece))
            parts.append(_put_part(client, upload, len(parts) + 1, piece, digests[-1], sha256=sha256, place=place))
        done = client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
        _check(done, digests, sha256=sha256, place=place)
    except BaseException:
        # The first error says more. An upload that has become an object is none any more, and is not found.
        with contextlib.suppress(ClientError, BotoCoreError, HTTPError, OSError):
            client.abort_multipart_upload(**upload)
        raise
    return dict(begun)


def _put_part(
    client: S3Client,
    upload: Mapping[str, Any],
    number: int,
    piece: memoryview,
    digests: Digests,
    *,
    sha256: bool,
    place: str,
) -> dict[str, Any]:
    """What the request that ends the upload has to say of this part."""
    request: Any = {
        **upload,
        "PartNumber": number,
        "Body": Body(piece),
        **digests.headers(sha256=sha256, md5=not sha256),
    }
    answer = client.upload_part(**request)
    doubt = digests.doubt(answer, sent_md5=not sha256)
    if doubt is not None:
        raise unconfirmed(f"part {number} of {place}", doubt)
    checksum = {"ChecksumSHA256": in_base64(digests.sha256)} if sha256 else {}
    return {"PartNumber": number, "ETag": answer["ETag"], **checksum}


def _check(done: Mapping[str, Any], digests: list[Digests], *, sha256: bool, place: str) -> None:
    doubt = _doubt(done, digests, sha256=sha256)
    if doubt is not None:
        raise unconfirmed(place, doubt)


def _doubt(done: Mapping[str, Any], digests: list[Digests], *, sha256: bool) -> str | None:
    """Why the end of the upload proves nothing. A store may give the whole any ETag, but not one of other parts."""
    suffix = f"-{len(digests)}"
    checksum: str = done.get("ChecksumSHA256", "")
    if sha256 and checksum.endswith(suffix):
        expected = in_base64(hashlib.sha256(b"".join(part.sha256 for part in digests)).digest())
        return None if checksum == expected + suffix else f"confirmed the SHA-256 {checksum} and not {expected}{suffix}"
    etag = done.get("ETag", "").strip('"')
    if not etag:
        return "confirmed no digest of the whole"
    if not sha256 and etag.endswith(suffix) and not done.get("ServerSideEncryption", "").startswith("aws:kms"):
        expected = hashlib.md5(b"".join(part.md5 for part in digests), usedforsecurity=False).hexdigest()
        return None if etag == expected + suffix else f"confirmed the digest {etag} and not {expected}{suffix}"
    return None

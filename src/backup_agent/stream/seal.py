"""A chunk's seal: raw bytes in, an independent zstd frame and its entry of the manifest out; and back, verified.

Frames are independent, so chunks seal on as many threads as there are (zstandard and hashlib release the GIL), and
`cat chunk-* | zstd -dc` gives the stream without this program.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import zstandard

from backup_agent.domain.manifest import Chunk
from backup_agent.errors import ErrorCode, IntegrityError


@dataclass(frozen=True, slots=True)
class SealedChunk:
    data: bytes
    entry: Chunk


def seal(raw: memoryview, level: int) -> SealedChunk:
    """Compresses `raw` at zstd `level` (1 to 19), with a frame checksum."""
    data = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress(raw)
    entry = Chunk(raw_size=raw.nbytes, stored_size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return SealedChunk(data, entry)


def unseal(data: bytes, entry: Chunk, key: str) -> bytes:
    """The raw bytes. Raises IntegrityError (`chunk_corrupt`) unless `data` is exactly what the manifest lists.

    The digest is compared before the bytes reach the decompressor.
    """
    if len(data) != entry.stored_size:
        raise corrupt(key, f"it has another size than the {entry.stored_size} bytes it was stored with")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise corrupt(key, "its SHA-256 differs from the manifest's")
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=entry.raw_size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise corrupt(key, f"it can't be decompressed ({error})") from error
    if len(raw) != entry.raw_size:
        raise corrupt(key, f"it holds {len(raw)} bytes instead of {entry.raw_size}")
    return raw


def corrupt(key: str, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.CHUNK_CORRUPT,
        f"{key} can't be trusted: {why}",
        "The store changed or lost bytes. Restore another backup, and check the store.",
    )

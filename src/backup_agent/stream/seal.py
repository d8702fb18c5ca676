"""A chunk's seal: raw bytes in, an independent zstd frame and its entry of the manifest out; and back, verified.

Frames are independent, so chunks seal on as many threads as there are (zstandard and hashlib release the GIL), and
`cat chunk-* | zstd -dc` gives the stream without this program. With compression `none` a chunk is its raw bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import zstandard

from backup_agent.domain.manifest import Chunk, Compression
from backup_agent.errors import ErrorCode, IntegrityError


def seal(raw: memoryview, compression: Compression) -> tuple[bytes, Chunk]:
    """The sealed bytes of a chunk and its entry. A zstd frame has its content size and a checksum."""
    data = bytes(raw) if compression.algorithm == "none" else _compressor(compression).compress(raw)
    return data, Chunk(raw_size=raw.nbytes, stored_size=len(data), sha256=hashlib.sha256(data).hexdigest())


def seal_pieces(
    pieces: Iterable[memoryview], raw_size: int, compression: Compression, write: Callable[[bytes | memoryview], object]
) -> Chunk:
    """The same for a chunk that is nowhere whole: passes the sealed bytes to `write` as they come."""
    digest = hashlib.sha256()
    stored = 0

    def put(data: bytes | memoryview) -> None:
        nonlocal stored
        digest.update(data)
        stored += len(data)
        write(data)

    if compression.algorithm == "none":
        for piece in pieces:
            put(piece)
    else:
        frame = _compressor(compression).compressobj(size=raw_size)
        for piece in pieces:
            if data := frame.compress(piece):
                put(data)
        put(frame.flush())
    return Chunk(raw_size=raw_size, stored_size=stored, sha256=digest.hexdigest())


def _compressor(compression: Compression) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=compression.level, write_checksum=True, write_content_size=True)


def unseal(data: bytes, entry: Chunk, algorithm: str, key: str, buffer: bytearray) -> memoryview:
    """The raw bytes, in `buffer` (at least `raw_size` long) where they had to be decompressed: a fresh one for each
    chunk costs as much as the decompression, for its pages.

    The digest is compared before the bytes reach the decompressor. Raises IntegrityError (`chunk_corrupt`) unless
    `data` is exactly what the manifest lists.
    """
    if len(data) != entry.stored_size:
        raise corrupt(key, f"it has another size than the {entry.stored_size} bytes it was stored with")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise corrupt(key, "its SHA-256 differs from the manifest's")
    raw = memoryview(data) if algorithm == "none" else _decompress(data, entry, key, buffer)
    if raw.nbytes != entry.raw_size:
        raise corrupt(key, f"it holds {raw.nbytes} bytes instead of {entry.raw_size}")
    return raw


def _decompress(data: bytes, entry: Chunk, key: str, buffer: bytearray) -> memoryview:
    whole = memoryview(buffer)[: entry.raw_size]
    filled = 0
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        while filled < whole.nbytes and (size := reader.readinto(whole[filled:])):
            filled += size
        beyond = reader.read(1)
    except zstandard.ZstdError as error:
        raise corrupt(key, f"it can't be decompressed ({error})") from error
    if beyond:
        raise corrupt(key, f"it holds more than {entry.raw_size} bytes")
    return whole[:filled]


def corrupt(key: str, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.CHUNK_CORRUPT,
        f"{key} can't be trusted: {why}",
        "The store changed or lost bytes. Restore another backup, and check the store.",
    )

"""A chunk's seal: raw bytes in, an independent zstd frame and its entry of the manifest out; and back, verified.

Frames are independent, so chunks seal on as many threads as there are (zstandard, hashlib and cryptography release the
GIL), and `cat chunk-* | zstd -dc` gives the stream without this program. With compression `none` a chunk is its raw
bytes. For recipients, the frame is encrypted by age; the digest is over what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import zstandard

from backup_agent.domain.manifest import Chunk, Compression
from backup_agent.domain.recipient import Recipient
from backup_agent.errors import ErrorCode, IntegrityError
from backup_agent.stream.identity import Identity, decrypt


def seal(raw: memoryview, compression: Compression) -> tuple[bytes, Chunk]:
    """The sealed bytes of a chunk that is not encrypted, and its entry. A frame has its content size and a checksum."""
    data = bytes(raw) if compression.algorithm == "none" else _compressor(compression).compress(raw)
    return data, Chunk(raw_size=raw.nbytes, stored_size=len(data), sha256=hashlib.sha256(data).hexdigest())


def seal_pieces(
    pieces: Iterable[memoryview],
    raw_size: int,
    compression: Compression,
    recipients: Sequence[Recipient],
    write: Callable[[bytes | memoryview], object],
) -> Chunk:
    """The same for a chunk that is nowhere whole, or is encrypted: passes the sealed bytes to `write` as they come."""
    digest = hashlib.sha256()
    stored = 0

    def put(data: bytes | memoryview) -> None:
        nonlocal stored
        digest.update(data)
        stored += len(data)
        write(data)

    if recipients:
        # Imported here because its library takes a twentieth of a second to load, which others need not pay for.
        from backup_agent.stream.age import Encryption  # noqa: PLC0415

        encryption = Encryption(recipients, put)
        for data in _frame(pieces, raw_size, compression):
            encryption.feed(data)
        encryption.finish()
    else:
        for data in _frame(pieces, raw_size, compression):
            put(data)
    return Chunk(raw_size=raw_size, stored_size=stored, sha256=digest.hexdigest())


def _frame(
    pieces: Iterable[memoryview], raw_size: int, compression: Compression
) -> Iterable[bytes] | Iterable[memoryview]:
    if compression.algorithm == "none":
        yield from pieces
        return
    frame = _compressor(compression).compressobj(size=raw_size)
    for piece in pieces:
        if data := frame.compress(piece):
            yield data
    yield frame.flush()


def _compressor(compression: Compression) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=compression.level, write_checksum=True, write_content_size=True)


def check_stored(data: bytes, entry: Chunk, key: str) -> None:
    """Raises IntegrityError (`chunk_corrupt`) unless `data` is what was stored. Needs no identity."""
    if len(data) != entry.stored_size:
        raise corrupt(key, f"it has another size than the {entry.stored_size} bytes it was stored with")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise corrupt(key, "its SHA-256 differs from the manifest's")


def unseal(
    data: bytes,
    entry: Chunk,
    algorithm: str,
    key: str,
    buffer: bytearray,
    *,
    identities: Sequence[Identity] | None = None,
) -> memoryview:
    """The raw bytes, in `buffer` (at least `raw_size` long) where they had to be decompressed: a fresh one for each
    chunk costs as much as the decompression, for its pages. `identities` is None when the chunk is not encrypted.

    The digest is compared before the bytes reach age or the decompressor. Raises IntegrityError (`chunk_corrupt`)
    unless `data` is exactly what the manifest lists.
    """
    check_stored(data, entry, key)
    if identities is not None:
        try:
            data = decrypt(data, identities)
        except ValueError as error:
            raise corrupt(key, f"it can't be decrypted ({error})") from error
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

"""The way to the store and back: what goes in comes out, within bounded memory, and no failure goes unnoticed."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
import zstandard

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Compression, Manifest, Totals
from backup_agent.domain.recipient import Recipient, parse
from backup_agent.errors import ErrorCode, IntegrityError, StoreError
from backup_agent.storage.in_front import StoreInFront
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.stream.download import read_stream
from backup_agent.stream.identity import Identity
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool import Spool
from backup_agent.stream.spool_bounds import SpoolBounds
from backup_agent.stream.upload import Upload, Uploaded
from tests.unit.manifests import manifest_of

KIB = 1 << 10
ZSTD = Compression(algorithm="zstd", level=1)
SETTINGS = StreamSettings(chunk_size=64 * KIB, memory=5 * 64 * KIB, threads=2, transfers=4, compression=ZSTD)
PLACE = BackupPlace("c", "44b277eb-39be-4921-be31-3d61b43651d7", "61f12fef-edb1-4561-8122-e7c00ef26a82")
NOWHERE, NO_ROOM = Path("/nonexistent"), SpoolBounds(limit=0, reserve=0, floor=0)
_KEY = pyrage.x25519.Identity.generate()
RECIPIENT = parse(str(_KEY.to_public()))
IDENTITY = Identity(RECIPIENT.fingerprint, _KEY)
SIZES = [1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 640 * KIB, 777_777]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store", create=True)
    store.prepare("c")
    return store


@pytest.fixture
def no_spool() -> Spool:
    return Spool(NOWHERE, NO_ROOM)


class Nod:
    """A judge that accepts and remembers."""

    def __init__(self) -> None:
        self.seen = hashlib.sha256()

    def feed(self, data: bytes | memoryview) -> None:
        self.seen.update(data)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def nothing() -> None:
    """For what is of no interest to a test."""


def never() -> bool:
    return False


def uploading(
    store: Store, spool: Spool, settings: StreamSettings = SETTINGS, *, told: Callable[[], None] = nothing
) -> Upload:
    return Upload(store, PLACE, settings, spool, locked=never, on_failure=told)


def upload(store: Store, raw: bytes, settings: StreamSettings = SETTINGS) -> Uploaded:
    """Without any room on disk."""
    return uploading(store, Spool(NOWHERE, NO_ROOM), settings).run(io.BytesIO(raw), Nod(), nothing)


def manifest(uploaded: Uploaded, compression: Compression = ZSTD) -> Manifest:
    return manifest_of(PLACE, chunks=uploaded.chunks, totals=uploaded.totals, compression=compression)


@pytest.mark.parametrize("compression", [ZSTD, Compression(algorithm="none", level=0)], ids=["zstd", "none"])
@pytest.mark.parametrize("recipients", [(), (RECIPIENT,)], ids=["clear", "encrypted"])
@pytest.mark.parametrize("size", SIZES)
def test_what_was_uploaded_is_downloaded(
    store: LocalStore, size: int, compression: Compression, recipients: tuple[Recipient, ...]
) -> None:
    raw = noise(size)
    settings = replace(SETTINGS, compression=compression, recipients=recipients)

    uploaded = upload(store, raw, settings)

    described = manifest(uploaded, compression).model_copy(update={"format": 2, "encryption": settings.encryption})
    assert b"".join(map(bytes, read_stream(store, PLACE, described, settings, (IDENTITY,)))) == raw
    assert uploaded.totals.raw_sha256 == hashlib.sha256(raw).hexdigest()
    assert sum(stored.size for stored in store.list(PLACE.prefix)) == uploaded.totals.stored_size


def test_the_judge_sees_every_byte_in_order(store: LocalStore, no_spool: Spool) -> None:
    raw, judge = noise(300_000), Nod()

    uploading(store, no_spool).run(io.BytesIO(raw), judge, nothing)

    assert judge.seen.digest() == hashlib.sha256(raw).digest()


def test_the_chunks_of_a_backup_are_one_zstd_stream(store: LocalStore) -> None:
    raw = bytes(400_000)
    upload(store, raw)

    frames = b"".join(store.get(stored.key, limit=stored.size) for stored in store.list(PLACE.prefix))

    with zstandard.ZstdDecompressor().stream_reader(frames, read_across_frames=True) as reader:
        assert reader.read() == raw


class Faulty(StoreInFront):
    """A store that behaves as told, and is the store it wraps otherwise."""

    def __init__(self, store: LocalStore, *, refuse_from: int = 1 << 30) -> None:
        super().__init__(store)
        self.refuse_from = refuse_from
        self.gate = threading.Event()
        self.puts = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        with self.lock:
            self.puts += 1
            number = self.puts
            self.at_once += len(body)
            self.most_at_once = max(self.most_at_once, self.at_once)
        if number >= self.refuse_from:
            raise StoreError(ErrorCode.STORE_FULL, "the store is full", "Make room.")
        self.gate.wait(30)
        super().put(key, body, sha256=sha256, once=once)
        with self.lock:
            self.at_once -= len(body)


def test_a_store_that_refuses_ends_the_upload_with_its_own_error(store: LocalStore, no_spool: Spool) -> None:
    faulty = Faulty(store, refuse_from=3)
    faulty.gate.set()
    told = threading.Event()

    with pytest.raises(StoreError, match="the store is full"):
        uploading(faulty, no_spool, told=told.set).run(io.BytesIO(noise(2_000_000)), Nod(), nothing)

    assert told.is_set()


def test_a_judge_that_refuses_ends_the_upload(store: LocalStore, no_spool: Spool) -> None:
    class RefusedError(Exception):
        pass

    class Refuser:
        def feed(self, _: bytes | memoryview) -> None:
            raise RefusedError

    told = threading.Event()
    with pytest.raises(RefusedError):
        uploading(store, no_spool, told=told.set).run(io.BytesIO(noise(100_000)), Refuser(), nothing)

    assert told.is_set()


def test_a_slow_store_pushes_back_instead_of_filling_memory(store: LocalStore, no_spool: Spool) -> None:
    faulty = Faulty(store)
    raw = noise(4_000_000)
    source = io.BytesIO(raw)
    upload = uploading(faulty, no_spool)
    result: list[Uploaded] = []
    thread = threading.Thread(target=lambda: result.append(upload.run(source, Nod(), nothing)))
    thread.start()
    most = 0
    for _ in range(200):  # until reading has stood still for a while
        before = source.tell()
        thread.join(0.01)
        most = max(most, source.tell())
        if before == source.tell() and before > SETTINGS.memory // 2:
            break

    assert most <= SETTINGS.memory + SETTINGS.chunk_size
    faulty.gate.set()
    thread.join(30)

    assert result[0].totals.raw_size == len(raw)
    assert faulty.most_at_once <= SETTINGS.sealed_memory + SETTINGS.chunk_size


def change(uploaded: Uploaded, number: int, **fields: object) -> Manifest:
    chunks = list(uploaded.chunks)
    chunks[number] = Chunk.model_validate({**chunks[number].model_dump(), **fields})
    return manifest_of(PLACE, chunks=tuple(chunks), totals=uploaded.totals)


def consume(store: Store, manifest: Manifest) -> list[bytes]:
    """What a reader was given before the error."""
    given: list[bytes] = []
    with pytest.raises(IntegrityError) as caught:
        given.extend(map(bytes, read_stream(store, PLACE, manifest, SETTINGS)))
    assert caught.value.code in (ErrorCode.CHUNK_CORRUPT, ErrorCode.CHUNK_MISSING)
    return given


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_flipped_byte_of_a_chunk_is_refused_before_use(store: LocalStore, position: int) -> None:
    uploaded = upload(store, noise(200_000))
    key = PLACE.chunk(1, ".zst")
    body = bytearray(store.get(key, limit=1 << 20))
    body[position] ^= 0x40
    store.put(key, bytes(body))

    assert len(consume(store, manifest(uploaded))) <= 1


def test_a_missing_chunk_is_named(store: LocalStore) -> None:
    uploaded = upload(store, noise(200_000))
    store.delete(PLACE.chunk(2, ".zst"))

    with pytest.raises(IntegrityError, match=r"chunk-00000002\.zst is not in the store"):
        list(read_stream(store, PLACE, manifest(uploaded), SETTINGS))


@pytest.mark.parametrize("extra", [b"x", b"\0" * 100, zstandard.compress(b"more")])
def test_a_chunk_that_grew_is_refused(store: LocalStore, extra: bytes) -> None:
    uploaded = upload(store, noise(100_000))
    store.put(PLACE.chunk(0, ".zst"), store.get(PLACE.chunk(0, ".zst"), limit=1 << 20) + extra)

    assert consume(store, manifest(uploaded)) == []


def test_a_truncated_chunk_is_refused(store: LocalStore) -> None:
    uploaded = upload(store, noise(100_000))
    store.put(PLACE.chunk(0, ".zst"), store.get(PLACE.chunk(0, ".zst"), limit=1 << 20)[:-1])

    assert consume(store, manifest(uploaded)) == []


def test_swapped_chunks_are_refused(store: LocalStore) -> None:
    uploaded = upload(store, noise(64 * KIB * 3))
    first, second = (store.get(PLACE.chunk(number, ".zst"), limit=1 << 20) for number in (0, 1))
    store.put(PLACE.chunk(0, ".zst"), second)
    store.put(PLACE.chunk(1, ".zst"), first)

    assert consume(store, manifest(uploaded)) == []


def test_a_frame_of_another_size_than_the_manifest_says_is_refused(store: LocalStore) -> None:
    uploaded = upload(store, noise(100_000))

    assert consume(store, change(uploaded, 0, raw_size=64 * KIB - 1)) == []
    assert consume(store, change(uploaded, 0, raw_size=64 * KIB + 1)) == []


def test_chunks_that_are_whole_but_not_the_stream_are_refused_at_the_end(store: LocalStore) -> None:
    uploaded = upload(store, noise(64 * KIB * 2))
    first, second = (store.get(PLACE.chunk(number, ".zst"), limit=1 << 20) for number in (0, 1))
    store.put(PLACE.chunk(0, ".zst"), second)
    store.put(PLACE.chunk(1, ".zst"), first)
    swapped = manifest_of(PLACE, chunks=uploaded.chunks[::-1], totals=uploaded.totals)

    assert len(consume(store, swapped)) == 2


def test_totals_count_what_was_stored(store: LocalStore) -> None:
    uploaded = upload(store, bytes(300_000))

    assert uploaded.totals == Totals(
        raw_size=300_000,
        stored_size=sum(chunk.stored_size for chunk in uploaded.chunks),
        raw_sha256=hashlib.sha256(bytes(300_000)).hexdigest(),
    )

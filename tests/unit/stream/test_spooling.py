"""The engine is not kept waiting: what finds no room in memory goes to disk, and nothing of it is lost."""

from __future__ import annotations

import errno
import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Compression
from backup_agent.errors import EngineError, ErrorCode
from backup_agent.storage.local import LocalStore
from backup_agent.stream.download import read_stream
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool import Spool, SpoolFile
from backup_agent.stream.spool_bounds import SpoolBounds
from backup_agent.stream.upload import Upload, Uploaded
from tests.unit.manifests import manifest_of

KIB, MIB = 1 << 10, 1 << 20
SETTINGS = StreamSettings(
    chunk_size=64 * KIB, memory=5 * 64 * KIB, threads=2, transfers=4, compression=Compression(algorithm="zstd", level=1)
)
PLACE = BackupPlace("c", "44b277eb-39be-4921-be31-3d61b43651d7", "61f12fef-edb1-4561-8122-e7c00ef26a82")
RAW = random.Random(1).randbytes(3 * MIB)
ROOMY = SpoolBounds(limit=100 * MIB, reserve=0, floor=0)
PATIENCE = 60.0


class Gated(LocalStore):
    """A store that answers no put before its gate is opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, create=True)
        self.gate = threading.Event()

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        self.gate.wait(PATIENCE)
        super().put(key, body, sha256=sha256, once=once)


class Nod:
    """A judge who accepts everything."""

    def feed(self, data: bytes | memoryview) -> None:
        """Nothing to say."""


@pytest.fixture
def store(tmp_path: Path) -> Gated:
    store = Gated(tmp_path / "store")
    store.prepare("c")
    return store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Paced(io.BytesIO):
    """RAW, whose second half comes when it is let: in between, the engine is held just before it locks tables."""

    def __init__(self) -> None:
        super().__init__(RAW)
        self.locked = threading.Event()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer would do
        half = len(RAW) // 2
        if self.tell() + len(buffer) > half:
            self.locked.wait(PATIENCE)
        return super().readinto(buffer)


@contextmanager
def running(store: Gated, spool: Spool, *, locked: bool) -> Iterator[tuple[Upload, Callable[[], Uploaded]]]:
    """An upload of RAW, and how to wait for its end."""
    upload = Upload(store, PLACE, SETTINGS, spool, locked=lambda: locked, on_failure=lambda: None)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(upload.run, io.BytesIO(RAW), Nod(), lambda: None)
        try:
            yield upload, lambda: future.result(PATIENCE)
        finally:
            store.gate.set()


def stored(store: Gated, uploaded: Uploaded) -> bytes:
    described = manifest_of(PLACE, chunks=uploaded.chunks, totals=uploaded.totals)
    return b"".join(map(bytes, read_stream(store, PLACE, described, SETTINGS)))


@pytest.mark.parametrize("veiled", [True, False])
@pytest.mark.parametrize("locked", [True, False])
def test_a_store_that_hangs_does_not_keep_the_engine_waiting(
    store: Gated, directory: Path, *, locked: bool, veiled: bool
) -> None:
    with Spool(directory, ROOMY, veiled=veiled) as spool, running(store, spool, locked=locked) as (upload, result):
        until(lambda: upload.bytes_read == len(RAW))
        assert upload.bytes_stored == 0
        assert upload.held_up is None
        store.gate.set()
        assert stored(store, result()) == RAW
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize("locked", [True, False])
def test_the_disk_is_told_to_begin_early_only_while_no_table_is_locked(
    store: Gated, directory: Path, monkeypatch: pytest.MonkeyPatch, *, locked: bool
) -> None:
    told: list[int] = []
    write_soon = SpoolFile.write_soon

    def observed(file: SpoolFile, piece: bytes | bytearray | memoryview) -> None:
        told.append(len(piece))
        write_soon(file, piece)

    monkeypatch.setattr(SpoolFile, "write_soon", observed)
    with Spool(directory, ROOMY) as spool, running(store, spool, locked=locked) as (upload, result):
        until(lambda: upload.bytes_read == len(RAW))
        store.gate.set()
        assert stored(store, result()) == RAW
        assert spool.peak > 0
    assert bool(told) is not locked


def test_a_full_spool_pushes_back_and_says_so(store: Gated, directory: Path) -> None:
    limits = SpoolBounds(limit=MIB, reserve=0, floor=0)
    with Spool(directory, limits) as spool, running(store, spool, locked=True) as (upload, result):
        until(lambda: upload.held_up)
        assert "while tables were locked" in str(upload.held_up)
        assert spool.peak <= MIB
        assert upload.bytes_read < len(RAW)
        store.gate.set()
        assert stored(store, result()) == RAW


def test_the_reserve_is_left_alone_until_tables_are_locked(store: Gated, directory: Path) -> None:
    limits = SpoolBounds(limit=2 * MIB, reserve=MIB, floor=0)
    with Spool(directory, limits) as spool, running(store, spool, locked=False) as (upload, result):
        until(lambda: upload.held_up)
        assert "the store is slower than the engine" in str(upload.held_up)
        assert spool.peak <= MIB
        store.gate.set()
        assert stored(store, result()) == RAW


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("good", [0, 1, 7])
def test_a_disk_that_fails_costs_time_and_no_byte(
    store: Gated, directory: Path, monkeypatch: pytest.MonkeyPatch, good: int, *, locked: bool
) -> None:
    """It fails in the middle of a write, after `good` whole ones."""
    real, left = os.pwrite, [good]

    def failing(descriptor: int, data: memoryview, offset: int) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with Spool(directory, ROOMY) as spool, running(store, spool, locked=locked) as (upload, result):
        until(lambda: upload.held_up)
        store.gate.set()
        assert stored(store, result()) == RAW


def test_a_disk_that_changes_bytes_is_found_out(store: Gated, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = SpoolFile.write

    def flipping(file: SpoolFile, piece: bytes | memoryview) -> None:
        data = bytearray(piece)
        data[len(data) // 2] ^= 1
        real(file, bytes(data))

    monkeypatch.setattr(SpoolFile, "write", flipping)
    with Spool(directory, ROOMY) as spool, running(store, spool, locked=False) as (upload, result):
        until(lambda: upload.bytes_read == len(RAW))
        store.gate.set()
        with pytest.raises(EngineError, match="SHA-256") as caught:
            result()
        assert caught.value.code is ErrorCode.SPOOL_FAILED


def test_a_file_that_is_gone_fails_the_backup(store: Gated, directory: Path) -> None:
    with Spool(directory, ROOMY) as spool, running(store, spool, locked=True) as (upload, result):
        until(lambda: upload.bytes_read == len(RAW))
        while files := list(directory.iterdir()):
            for path in files:
                path.unlink(missing_ok=True)
        store.gate.set()
        with pytest.raises(EngineError, match="can't be read back from the spool") as caught:
            result()
        assert caught.value.code is ErrorCode.SPOOL_FAILED


@pytest.mark.parametrize("limit", [0, MIB, 100 * MIB])
def test_all_memory_is_ready_when_tables_are_locked_and_given_back(store: Gated, directory: Path, limit: int) -> None:
    """Also without a spool, and with a store that hangs until the locks are gone."""
    source, locked = Paced(), threading.Event()
    with Spool(directory, SpoolBounds(limit=limit, reserve=0, floor=0)) as spool, ThreadPoolExecutor(1) as pool:
        settings = replace(SETTINGS, memory=9 * 64 * KIB)
        upload = Upload(store, PLACE, settings, spool, locked=locked.is_set, on_failure=lambda: None)
        store.gate.set()
        future = pool.submit(upload.run, source, Nod(), lambda: None)
        until(upload.make_room)
        store.gate.clear()
        locked.set()
        source.locked.set()
        until(lambda: upload.bytes_read == len(RAW) or upload.held_up)
        assert (upload.held_up is None) == (limit == 100 * MIB)
        locked.clear()
        store.gate.set()
        assert stored(store, future.result(PATIENCE)) == RAW


@pytest.mark.parametrize("adaptive", [True, False])
def test_chunks_are_compressed_harder_while_the_store_is_slow(store: Gated, directory: Path, *, adaptive: bool) -> None:
    """All chunks hold the same, so that their stored sizes tell their levels."""
    word = random.Random(2)
    page = b" ".join(b"%x" % word.getrandbits(10) for _ in range(20_000))[: 64 * KIB]
    settings = replace(SETTINGS, memory=6 * 64 * KIB, adaptive=adaptive)
    with Spool(directory, ROOMY) as spool, ThreadPoolExecutor(1) as pool:
        upload = Upload(store, PLACE, settings, spool, locked=lambda: False, on_failure=lambda: None)
        future = pool.submit(upload.run, io.BytesIO(page * 60), Nod(), lambda: None)
        until(lambda: upload.bytes_read == 60 * len(page) and spool.peak)
        store.gate.set()
        sizes = [chunk.stored_size for chunk in future.result(PATIENCE).chunks]
    assert (min(sizes) < sizes[0]) == adaptive

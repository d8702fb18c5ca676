"""The engine's stream to the store: taken in, cut into chunks, judged, sealed and stored, in bounded memory and disk.

    source -> intake -> sealing (pool) -> shipping (pool) -> store

The engine is never kept waiting while it locks tables, as long as there is room in memory or in the spool. What it does
not do: write the manifest, retry (the store it is given does), or clean up the chunks of a failure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Chunk, Totals, chunk_suffix
from backup_agent.storage.interface import Store
from backup_agent.stream.intake import Activity, Intake, RawChunk
from backup_agent.stream.memory import Budget, Closed, RawBuffers
from backup_agent.stream.pace import Pace
from backup_agent.stream.sealing import Judge, Sealing, be_nice
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.shipping import Shipping
from backup_agent.stream.spool import Spool

_TICK: Final = 0.05
"""Seconds between two calls of `on_tick`."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    chunks: tuple[Chunk, ...]
    totals: Totals


class Upload:
    """One stream's way to the store. Used once."""

    def __init__(
        self,
        store: Store,
        place: BackupPlace,
        settings: StreamSettings,
        spool: Spool,
        *,
        locked: Callable[[], bool],
        on_failure: Callable[[], None],
    ) -> None:
        """`locked` tells, from any thread, whether writers of the database wait for the engine now.

        `on_failure` is called at once, from any thread, when the stream is refused or a chunk can't be sealed or
        stored: it must make the source end and the store give up, or the others would learn of it late.
        """
        suffix = chunk_suffix(settings.compression, encrypted=bool(settings.recipients))
        self._settings = settings
        self._spool = spool
        self._locked = locked
        self._on_failure = on_failure
        self._raw = RawBuffers(settings.raw_buffers, settings.chunk_size)
        self._memory = Budget(settings.sealed_memory)
        self._shipping = Shipping(
            lambda number, data, sha256: store.put(place.chunk(number, suffix), data, sha256=sha256, once=True),
            self._memory,
            on_stored=self._one_done,
        )
        self._sealing: Sealing | None = None
        self._intake: Intake | None = None
        self._unsealed = 0
        self._pending = 1  # chunks on their way, and the source, which may bring more
        self._sealers = ThreadPoolExecutor(settings.threads, "seal", initializer=be_nice, initargs=(settings.nice,))
        self._movers = ThreadPoolExecutor(settings.transfers, "store", initializer=be_nice, initargs=(settings.nice,))
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._ended = threading.Event()

    @property
    def bytes_read(self) -> int:
        """Of the source so far."""
        return self._intake.bytes_read if self._intake else 0

    @property
    def bytes_stored(self) -> int:
        """Confirmed by the store so far."""
        return self._shipping.bytes_stored

    @property
    def doing(self) -> tuple[Activity, float] | None:
        """What the thread that reads the engine does, and since when by the monotonic clock."""
        return self._intake.doing if self._intake else None

    def make_room(self) -> bool:
        """Gets memory ready for what comes when tables are locked; whether that is done. For when nothing comes."""
        if self._unsealed or self._intake is None:
            return False
        with suppress(Closed):  # the upload has ended: nothing will come
            self._intake.make_room()
        return True

    @property
    def held_up(self) -> str | None:
        """Why the engine had to wait, if it had to; None when all found its place in time."""
        if self._intake and self._intake.held_up:
            return "memory and spool were full while tables were locked: the locks last longer by the engine's waiting"
        if self._sealing and self._sealing.held_up:
            return "the store is slower than the engine, memory and spool are full: the engine waits"
        return None

    def run(self, source: IO[bytes], judge: Judge, on_tick: Callable[[], None]) -> Uploaded:
        """Moves everything `source` gives; returns when the store has confirmed every chunk.

        `on_tick` is called many times a second, in this thread; what it raises ends the upload. Raises what the judge,
        the store or the sealing raised, and leaves no thread running.
        """
        self._sealing = Sealing(
            judge,
            self._settings.compression,
            Pace(self._settings.compression.level, adaptive=self._settings.adaptive),
            self._memory,
            self._spool,
            locked=self._locked,
            awaited=lambda: self.doing is not None and self.doing[0] in {Activity.WAITING, Activity.ENDED},
            recipients=self._settings.recipients,
        )
        self._intake = Intake(
            source,
            self._settings.chunk_size,
            self._raw,
            self._memory,
            self._spool,
            locked=self._locked,
            on_chunk=self._take_chunk,
        )
        reader = threading.Thread(target=self._read, args=(self._intake,), name="intake")
        try:
            for _ in range(self._settings.transfers):
                self._submit(self._movers, self._shipping.work)
            reader.start()
            while not self._ended.wait(_TICK):
                on_tick()
        except BaseException as error:
            self.abort(error)
            raise
        finally:
            if reader.ident is not None:
                reader.join()
            self._sealers.shutdown()
            self._shipping.close()
            self._movers.shutdown()
        if self._failure is not None:
            raise self._failure
        return self._uploaded(self._intake, self._sealing)

    def abort(self, error: BaseException) -> None:
        """Ends the upload with `error`, unless it has failed already. From any thread."""
        with self._lock:
            if self._failure is None:
                self._failure = error
        self._raw.close()
        self._memory.close()
        if self._sealing is not None:
            self._sealing.close()
        self._shipping.close()
        self._ended.set()
        self._on_failure()

    def _uploaded(self, intake: Intake, sealing: Sealing) -> Uploaded:
        chunks = tuple(self._shipping.entries[number] for number in range(intake.chunks))
        return Uploaded(
            chunks,
            Totals(
                raw_size=intake.bytes_read,
                stored_size=sum(chunk.stored_size for chunk in chunks),
                raw_sha256=sealing.raw_sha256,
            ),
        )

    def _read(self, intake: Intake) -> None:
        """The intake's thread."""
        try:
            intake.run()
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in `run`
            self.abort(error)
        else:
            self._one_done()

    def _take_chunk(self, chunk: RawChunk) -> None:
        with self._lock:
            self._pending += 1
            self._unsealed += 1
        self._submit(self._sealers, self._seal, chunk)

    def _seal(self, chunk: RawChunk) -> None:
        if self._sealing is not None:
            sealed = self._sealing.seal(chunk)
            with self._lock:
                self._unsealed -= 1
            self._shipping.add(sealed)

    def _one_done(self) -> None:
        with self._lock:
            self._pending -= 1
            if self._pending == 0:
                self._ended.set()

    def _submit(self, pool: ThreadPoolExecutor, task: Callable[..., None], *args: object) -> None:
        pool.submit(task, *args).add_done_callback(self._look_after)

    def _look_after(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, Closed):
            self.abort(error)

"""Finds and removes what no backup needs: chunks without a manifest, and the signs of life of dead attempts.

Never by age alone: an attempt that lives gives signs of life (garbage_marker), and of the agent's own instance none can
live while its lock is held here. The age is told by the store's own clock. What is not ours is told of, and stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.layout import BackupPlace, container_prefix, instance_prefix
from backup_agent.domain.objects import ObjectKind, kind_of
from backup_agent.domain.state import TERMINAL
from backup_agent.errors import ErrorCode, MissingError, StoreError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.cleanup import putting_up_with_locks
from backup_agent.operations.clock import Clock
from backup_agent.operations.delete import DELETE
from backup_agent.operations.delete_objects import Removed, Remover
from backup_agent.operations.garbage_marker import markers
from backup_agent.operations.recover import recover
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import go_on
from backup_agent.storage.interface import Store, StoredObject

log = structlog.get_logger(__name__)

_PROBE = "clock-"
_LOOKS = 8
_PAUSE = 0.25
"""Seconds; each further one is twice as long."""
_SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Search:
    """`grace` is how old the youngest object of what is removed must be."""

    grace: timedelta
    everywhere: bool = False
    """Also below the other instances of the container."""
    dry: bool = False
    """Changes nothing; ages are then told by this host's clock."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Objects that no backup needs, below the prefix of what was to be one."""

    place: BackupPlace
    objects: int
    bytes: int
    youngest: datetime | None
    kept: str | None
    """Why they stay for now; None: they go."""


@dataclass(slots=True)
class Collection:
    """What was found, and what is gone of it."""

    garbage: list[Garbage] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Keys that are not ours, the first of each place."""
    removed: Removed = field(default_factory=Removed)


@dataclass(slots=True)
class _Heap:
    """What a listing shows below one backup's prefix."""

    place: BackupPlace
    objects: int = 0
    bytes: int = 0
    youngest: datetime | None = None
    ageless: bool = False
    manifest: bool = False
    signs: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def add(self, stored: StoredObject) -> None:
        kind = kind_of(stored.key.removeprefix(self.place.prefix))
        if kind is None:
            self.foreign = [*self.foreign, stored.key][:_SAMPLE]
            return
        self.manifest |= kind is ObjectKind.MANIFEST
        if kind is ObjectKind.MARKER:
            self.signs.append(stored.key)
        self.objects += 1
        self.bytes += stored.size
        if stored.modified is None:
            self.ageless = True
        elif self.youngest is None or stored.modified > self.youngest:
            self.youngest = stored.modified


def collect(
    search: Search, services: BackupServices, cancellation: Cancellation, on_found: Callable[[Garbage], None]
) -> Collection:
    """Raises BusyError while somebody else has the instance, and what the store raises."""
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    if search.dry:
        return _Collector(search, catalogue, services, cancellation, on_found).run()
    with services.lock("gc", None, cancellation):
        recover(services, cancellation)
        go_on(services, cancellation, DELETE)
        return _Collector(search, catalogue, services, cancellation, on_found).run()


class _Collector:
    def __init__(
        self,
        search: Search,
        catalogue: Catalogue,
        services: BackupServices,
        cancellation: Cancellation,
        on_found: Callable[[Garbage], None],
    ) -> None:
        self._search = search
        self._catalogue = catalogue
        self._store = catalogue.store
        self._services = services
        self._cancellation = cancellation
        self._on_found = on_found
        self._ours = services.policy.instance_id
        self._found = Collection()

    def run(self) -> Collection:
        now = self._services.clock.now() if self._search.dry else self._store_time()
        for instance_id in list(self._instances()):
            for heap in list(self._heaps(instance_id)):
                self._cancellation.check()
                self._take(heap, now)
        return self._found

    def _store_time(self) -> datetime:
        prefix = instance_prefix(self._catalogue.container, self._ours)
        for left in [stored.key for stored in self._store.list(f"{prefix}{_PROBE}")]:
            self._store.delete(left)  # of a process that was killed
        return store_time(self._store, f"{prefix}{_PROBE}{uuid.uuid4()}", self._services.clock)

    def _instances(self) -> Iterator[str]:
        yield self._ours
        if self._search.everywhere:
            for name in self._store.children(container_prefix(self._catalogue.container)):
                if name != self._ours and is_uuid(name):
                    yield name

    def _heaps(self, instance_id: str) -> Iterator[_Heap]:
        """One after the other, as the keys are in order."""
        heap: _Heap | None = None
        prefix = instance_prefix(self._catalogue.container, instance_id)
        for stored in self._store.list(prefix):
            backup_id, slash, _ = stored.key.removeprefix(prefix).partition("/")
            if not slash or not is_uuid(backup_id):
                self._found.foreign.append(stored.key)
                continue
            if heap is None or heap.place.backup_id != backup_id:
                if heap is not None:
                    yield heap
                heap = _Heap(self._catalogue.place(instance_id, backup_id))
            heap.add(stored)
        if heap is not None:
            yield heap

    def _take(self, heap: _Heap, now: datetime) -> None:
        self._found.foreign += heap.foreign
        if heap.manifest or self._has_manifest(heap.place):
            self._take_signs(heap)
            return
        if not heap.objects:
            return
        garbage = Garbage(heap.place, heap.objects, heap.bytes, heap.youngest, self._keeps(heap, now))
        self._found.garbage.append(garbage)
        self._on_found(garbage)
        if garbage.kept is None and not self._search.dry:
            remover = Remover(self._store, self._cancellation)
            with putting_up_with_locks(heap.place):
                self._found.removed += remover.remove(heap.place)

    def _keeps(self, heap: _Heap, now: datetime) -> str | None:
        if heap.youngest is None or heap.ageless:
            return "the store does not say how old it is"
        if now - heap.youngest < self._search.grace:
            return "its youngest object is younger than the grace time"
        if self._lives(heap):
            return "an attempt gives signs of life"
        job = self._services.journal.job(heap.place.backup_id)
        if job is not None and job.state not in TERMINAL:
            return "the journal has it as a backup that has not ended"
        return None

    def _lives(self, heap: _Heap) -> bool:
        """Read, not listed: listings may lag. A sign that was replaced in this moment is one of life."""
        now = self._services.clock.now()
        return any(
            marker is None or (not marker.dead() and marker.age(now) < self._search.grace)
            for marker in markers(self._store, heap.signs)
        )

    def _take_signs(self, heap: _Heap) -> None:
        """Of an attempt that died between its manifest and its last step."""
        if not heap.signs or self._search.dry or self._lives(heap):
            return
        for key in heap.signs:
            self._store.delete(key)
        self._found.removed += Removed(len(heap.signs), 0)

    def _has_manifest(self, place: BackupPlace) -> bool:
        try:
            self._store.get(place.manifest, limit=1)
        except MissingError:
            return False
        return True


def store_time(store: Store, probe: str, clock: Clock) -> datetime:
    """What the store's clock says now: by an object that is put and removed. Raises StoreError."""
    store.put(probe, b"")
    try:
        pause = _PAUSE
        for look in range(_LOOKS):
            if look:
                clock.sleep(pause)
                pause *= 2
            for stored in store.list(probe):
                if stored.modified is not None:
                    return stored.modified
    finally:
        store.delete(probe)
    raise StoreError(
        ErrorCode.STORE_FAILED,
        f"{store.url} does not list what was just put there, or not when that was",
        "Try again later; nothing was removed.",
    )

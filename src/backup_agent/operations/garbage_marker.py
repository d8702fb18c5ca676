"""The sign of life of an attempt: a small object beside its chunks, put before the first one and then ever again.

For those who can't see the agent's process or its lock: garbage collection, and deletion, on another host. Each sign
has a key of its own, because keys are written once; the one before it is removed. None stays of an attempt that ended.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError

from backup_agent.cancellation import Cancellation
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Timestamp
from backup_agent.domain.objects import ObjectKind, kind_of
from backup_agent.domain.process import ProcessId
from backup_agent.errors import BackupAgentError, ErrorCode, InterruptedByOperator, InUseError, MissingError
from backup_agent.instance.process import lives, namespace, this_process
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.storage.interface import Store

log = structlog.get_logger(__name__)

BEAT_SECONDS = 300.0
"""Between two signs."""
LIVES_FOR = timedelta(hours=1)
"""How long an attempt on another host is taken to live after its last sign: some clocks are wrong by minutes."""
_LIMIT = 4096


class Marker(Frozen):
    host: str
    namespace: str
    """In which the process has its number: containers of one host have their own."""
    process: ProcessId
    """Its start names the boot of the host."""
    beat: Timestamp

    def dead(self) -> bool:
        """Whether it is known that its process has ended."""
        here = (self.host, self.namespace) == (socket.gethostname(), namespace())
        return here and not lives(self.process)

    def age(self, now: datetime) -> timedelta:
        """Since its last sign, by the two hosts' clocks."""
        return now - datetime.fromisoformat(self.beat).astimezone(UTC)


class Beating:
    """Puts signs for one attempt. Safe from any thread."""

    def __init__(self, store: Store, place: BackupPlace, clock: Clock) -> None:
        self._store = store
        self._place = place
        self._clock = clock
        self._lock = threading.Lock()
        self._number = 0
        self._there: set[str] = set()

    def beat(self) -> None:
        """A new sign; then the ones before it go. Raises what the store raises."""
        with self._lock:
            self._number += 1
            key = f"{self._place.prefix}attempt-{self._number:08d}.json"
            before = set(self._there)
            self._there.add(key)
            self._store.put(key, self._marker())
            for old in before:
                self._store.delete(old)
                self._there.remove(old)

    def end(self, store: Store) -> None:
        """Takes the last sign away by `store`. One that stays harms nobody: it is no part of a backup."""
        with self._lock:
            for key in sorted(self._there):
                try:
                    store.delete(key)
                except BackupAgentError as error:
                    log.warning("a marker stays beside the backup", key=key, reason=error.message)

    def _marker(self) -> bytes:
        marker = Marker(
            host=socket.gethostname(),
            namespace=namespace(),
            process=this_process(),
            beat=timestamp(self._clock.now()),
        )
        return marker.model_dump_json().encode()


@contextmanager
def marked(
    connect: Callable[[Cancellation, float | None], Store],
    cancellation: Cancellation,
    cleaner: Store,
    place: BackupPlace,
    clock: Clock,
) -> Iterator[Beating]:
    """The attempt within is seen to live. What it leaves when it fails, its clean-up removes, the last sign too.

    Raises what the store raises when the first sign can't be put; later ones may fail. `cleaner` takes the last one
    away.
    """
    beats = Cancellation()
    cancellation.on_cancel(lambda: beats.cancel(_ended()))
    beating = Beating(connect(beats, None), place, clock)
    try:
        beating.beat()
    except InterruptedByOperator:
        cancellation.check()  # with its own reason
        raise
    thread = threading.Thread(target=_beat_on, args=(beating, beats, place), name="attempt-marker", daemon=True)
    thread.start()
    try:
        yield beating
    finally:
        beats.cancel(_ended())  # also a try again that waits
        thread.join()
    beating.end(cleaner)


def _beat_on(beating: Beating, beats: Cancellation, place: BackupPlace) -> None:
    while not beats.wait(BEAT_SECONDS):
        try:
            beating.beat()
        except InterruptedByOperator:
            return
        except BackupAgentError as error:
            log.warning("can't give a sign of life", prefix=place.prefix, reason=error.message)


def _ended() -> InterruptedByOperator:
    return InterruptedByOperator(ErrorCode.INTERRUPTED, "the attempt has ended", "See how it ended.")


def markers(store: Store, keys: list[str]) -> list[Marker | None]:
    """Those under `keys`; None for one that can't be told: it was replaced in this moment, or is none of ours."""
    found: list[Marker | None] = []
    for key in keys:
        try:
            found.append(Marker.model_validate_json(store.get(key, limit=_LIMIT)))
        except (MissingError, ValidationError):
            found.append(None)
    return found


def marker_keys(store: Store, place: BackupPlace) -> list[str]:
    prefix = f"{place.prefix}attempt-"
    keys = [stored.key for stored in store.list(prefix)]
    return [key for key in keys if kind_of(key.removeprefix(place.prefix)) is ObjectKind.MARKER]


def remove_markers(store: Store, place: BackupPlace) -> None:
    """Of a dead attempt whose backup is whole."""
    for key in marker_keys(store, place):
        store.delete(key)


def check_nobody_else(store: Store, place: BackupPlace) -> None:
    """Raises InUseError (`backup_in_use`) when an agent elsewhere seems to be at work there.

    On this host, the caller has the instance's lock.
    """
    now = datetime.now(UTC)
    for marker in markers(store, marker_keys(store, place)):
        if marker is not None and not marker.dead() and marker.age(now) < LIVES_FOR:
            raise InUseError(
                ErrorCode.BACKUP_IN_USE,
                f"backup {place.backup_id} is being taken on {marker.host}, as of {marker.beat}",
                "Wait for its end. If that host is gone, try again an hour after that time.",
            )

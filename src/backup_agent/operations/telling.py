"""What is told while a backup is made: its events, numbered, and its progress, not too often."""

from __future__ import annotations

from typing import Any

from backup_agent.domain import resource
from backup_agent.domain.command import BackupRequest
from backup_agent.domain.event import BackupEvent, EventError, EventType
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.state import Phase, State, check_transition
from backup_agent.errors import BackupAgentError, RejectedError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.report.interface import Reporter

_UNPROCESSABLE = 422
_PROGRESS_EVERY = 0.5
"""Seconds between two progress events; receivers that want fewer drop some."""


class Teller:
    """Keeps the state and the sequence number of one backup's events. For the thread that carries out the backup."""

    def __init__(
        self,
        request: BackupRequest,
        created: str,
        reporter: Reporter,
        clock: Clock,
        *,
        sequence: int = 0,
        state: State = State.NEW,
    ) -> None:
        """`sequence` and `state` are those of the last event that was told of this backup, by whoever it was."""
        self._request = request
        self.created = created
        """When it was asked for, as the manifest has its times."""
        self._reporter = reporter
        self._clock = clock
        self._sequence = sequence
        self.state = state
        """What was told last."""
        self._began = clock.monotonic()
        self._last_progress = float("-inf")
        self._last_phase: Phase | None = None
        self.bytes_expected: int | None = None

    def accepted(self) -> None:
        self._publish(EventType.ACCEPTED)

    def started(self) -> None:
        """Also of a backup that is begun once more after a crash, which is BUILDING already."""
        if self.state is not State.BUILDING:
            self._go(State.BUILDING)
        self._began = self._clock.monotonic()
        self._publish(EventType.STARTED, phase=Phase.LOCKING)

    def warn(self, notice: str) -> None:
        self._publish(EventType.WARNING, notice=notice)

    def progress(self, phase: Phase, bytes_read: int, bytes_stored: int) -> None:
        """Cheap to call often: most calls are dropped, changes of phase never."""
        now = self._clock.monotonic()
        if phase is self._last_phase and now - self._last_progress < _PROGRESS_EVERY:
            return
        self._last_progress, self._last_phase = now, phase
        self._publish(
            EventType.PROGRESS,
            phase=phase,
            bytes_read=bytes_read,
            bytes_stored=bytes_stored,
            eta_seconds=self._eta(now - self._began, bytes_read),
        )

    def completed(self, backup: dict[str, Any], raw_size: int, stored_size: int, lock: LockWindow) -> None:
        """Also of a backup that was found in the store, which nobody had noted to be BUILDING."""
        if self.state is State.NEW:
            self.started()
        self._go(State.COMPLETED)
        self._publish(EventType.COMPLETED, bytes_read=raw_size, bytes_stored=stored_size, lock=lock, backup=backup)

    def failed(self, error: BackupAgentError) -> None:
        """Rejected when nothing was begun, FAILED otherwise."""
        kind = EventType.REJECTED if self.state is State.NEW else EventType.FAILED
        self._go(State.FAILED)
        status = _UNPROCESSABLE if isinstance(error, RejectedError) else None
        what = EventError(code=error.code.value, message=error.message, hint=error.hint, status=status)
        self._publish(kind, error=what, backup={**self._resource(), "error": what.model_dump()})

    def _eta(self, seconds: float, bytes_read: int) -> int | None:
        if not self.bytes_expected or not bytes_read:
            return None
        return round(seconds * max(0, self.bytes_expected - bytes_read) / bytes_read)

    def _go(self, state: State) -> None:
        check_transition(self.state, state)
        self.state = state

    def _resource(self) -> dict[str, Any]:
        return resource.of_request(
            self._request,
            self.state,
            created=self.created.partition(".")[0],
            updated=timestamp(self._clock.now()).partition(".")[0],
        )

    def _publish(self, kind: EventType, **fields: Any) -> None:  # noqa: ANN401 - the fields of BackupEvent
        self._sequence += 1
        fields.setdefault("backup", self._resource())
        self._reporter.publish(
            BackupEvent(
                type=kind,
                backup_id=self._request.id,
                instance_id=self._request.instance_id,
                sequence=self._sequence,
                status=self.state,
                time=timestamp(self._clock.now()),
                bytes_expected=self.bytes_expected,
                **fields,
            )
        )


def tell_completed(teller: Teller, sealed: SealedManifest, catalogue: Catalogue) -> dict[str, Any]:
    """Tells that the backup is in the store; its resource."""
    manifest = sealed.manifest
    backup = resource.of_completed(sealed, catalogue.location(manifest.instance_id, manifest.id))
    teller.completed(backup, manifest.totals.raw_size, manifest.totals.stored_size, manifest.locks)
    return backup

"""What is told about a backup while it is made. Values only; `report` carries them out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import TERMINAL, Phase, State


class EventType(StrEnum):
    ACCEPTED = "backup.accepted"
    REJECTED = "backup.rejected"
    STARTED = "backup.started"
    PROGRESS = "backup.progress"
    WARNING = "backup.warning"
    COMPLETED = "backup.completed"
    FAILED = "backup.failed"
    DELETED = "backup.deleted"
    DELETE_FAILED = "backup.delete_failed"
    VERIFIED = "backup.verified"
    HEARTBEAT = "agent.heartbeat"
    RESTORED = "backup.restored"
    INSTANCE_DONE = "instance.done"
    INSTANCE_FAILED = "instance.failed"
    INSTANCE_REJECTED = "instance.rejected"


class EventError(Frozen):
    code: str
    message: str
    hint: str
    status: int | None = None
    """What a control plane answers with, as HTTP has it, to the one who asked: 422 for what can't be done as asked."""


class BackupEvent(Frozen):
    """One step of one backup. `sequence` counts from 1 per backup, so that a consumer can drop stale ones."""

    type: EventType
    backup_id: BackupId
    instance_id: InstanceId
    sequence: int
    status: State
    phase: Phase | None = None
    bytes_read: int = 0
    """Of the engine's stream."""
    bytes_stored: int = 0
    """Confirmed by the store."""
    bytes_expected: int | None = None
    """An estimate for a full backup; None when nothing is known."""
    time: str
    """When it happened, as the manifest has its times."""
    eta_seconds: int | None = None
    """An estimate; None when nothing is known."""
    lock: LockWindow | None = None
    error: EventError | None = None
    notice: str | None = None
    """What a warning warns of."""
    verification: dict[str, Any] | None = None
    """What a verification found, and its figures."""
    backup: dict[str, Any]
    """The backup resource as it is now."""

    @property
    def percent(self) -> int:
        """How much of the stream was read, 100 when the backup has completed, 99 at most before."""
        if self.status is State.COMPLETED:
            return 100
        expected = self.bytes_expected
        return min(99, 100 * self.bytes_read // expected) if expected and self.status not in TERMINAL else 0


class Ending(StrEnum):
    """How an operation on the instance ended."""

    DONE = "DONE"
    FAILED = "FAILED"
    """It was begun."""
    REJECTED = "REJECTED"
    """Nothing was begun."""


class InstanceEvent(Frozen):
    """The answer to one command on the instance itself. There is one for each, perhaps told twice."""

    type: EventType
    request_id: str
    """The `id` of the command's message."""
    command: str
    """Its type."""
    instance_id: InstanceId
    account_id: str
    status: Ending
    received: str
    time: str
    """Both as the manifest has its times."""
    result: dict[str, Any] | None = None
    """When it is DONE."""
    error: EventError | None = None
    backup_id: BackupId | None = None
    """The backup that it was rejected for."""

"""What is told about a backup while it is made. Values only; `report` carries them out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import Phase, State


class EventType(StrEnum):
    ACCEPTED = "backup.accepted"
    REJECTED = "backup.rejected"
    STARTED = "backup.started"
    PROGRESS = "backup.progress"
    WARNING = "backup.warning"
    COMPLETED = "backup.completed"
    FAILED = "backup.failed"
    RESTORED = "backup.restored"


class EventError(Frozen):
    code: str
    message: str
    hint: str


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
    lock: LockWindow | None = None
    error: EventError | None = None
    notice: str | None = None
    """What a warning warns of."""
    backup: dict[str, Any] | None = None
    """The backup resource, where there is one already."""

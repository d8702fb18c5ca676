"""Backups that have expired, and that the store keeps by Object Lock for now."""

from __future__ import annotations

from pathlib import Path

from backup_agent.cancellation import Cancellation
from backup_agent.domain.retention import Rules
from backup_agent.errors import ErrorCode, StoreError
from backup_agent.operations.expire import expire, judge
from backup_agent.operations.services import BackupServices
from backup_agent.storage.in_front import StoreInFront
from tests.shelves import stored, write
from tests.unit.operations.wired import Desk

NEWEST_FULL = Rules(keep_fulls=1)


class Locking(StoreInFront):
    """As AWS refuses to delete a version before its time."""

    def delete(self, key: str) -> None:
        if key.endswith("/manifest.json"):
            raise StoreError(ErrorCode.OBJECT_LOCKED, f"{key} is kept until tomorrow", "Wait for that.")
        super().delete(key)


def run(services: BackupServices) -> None:
    agreed = judge(NEWEST_FULL, services, Cancellation())
    expire(agreed, NEWEST_FULL, services, Cancellation(), lambda _: None)


def test_what_is_locked_expires_when_its_lock_has_ended(tmp_path: Path) -> None:
    desk = Desk(write(tmp_path / "shelf"), tmp_path / "desk")
    everything = stored(desk.agent)

    run(desk.with_store(Locking))
    assert stored(desk.agent) == everything

    run(desk.services)
    assert stored(desk.agent) == desk.shelf.second_chain

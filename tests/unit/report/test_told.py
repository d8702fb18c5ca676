"""Events read back from the bytes that were told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup_agent.domain import resource
from backup_agent.domain.command import BackupRequest
from backup_agent.domain.event import BackupEvent, EventError, EventType
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import Phase, State
from backup_agent.report.told import told
from backup_agent.report.wire import encode

BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
BEGUN = "2026-11-25T15:00:00"
ENDED = "2026-11-25T15:10:00"


def event(kind: EventType, state: State, **fields: object) -> bytes:
    request = BackupRequest(id=BACKUP, name="n", instance_id=INSTANCE, account_id="1")
    values = {
        "type": kind,
        "backup_id": BACKUP,
        "instance_id": INSTANCE,
        "sequence": 3,
        "status": state,
        "time": f"{ENDED}.000Z",
        "backup": resource.of_request(request, state, created=BEGUN, updated=ENDED),
        **fields,
    }
    return encode(BackupEvent.model_validate(values))


def test_progress_is_read_back() -> None:
    body = event(
        EventType.PROGRESS, State.BUILDING, phase=Phase.COPYING, bytes_read=40, bytes_stored=9, bytes_expected=100
    )
    found = told(body)
    assert (found.percent, found.bytes_read, found.bytes_stored) == (40, 40, 9)
    assert (found.innodb_lock_ms, found.nontransactional_lock_ms, found.error) == (None, None, None)


def test_a_completed_backup_is_read_back() -> None:
    lock = LockWindow(innodb_ms=35, nontransactional_ms=1500, stages_ms={"FLUSH": 1500})
    found = told(event(EventType.COMPLETED, State.COMPLETED, bytes_read=7, bytes_stored=3, lock=lock))
    assert found.percent == 100
    assert (found.innodb_lock_ms, found.nontransactional_lock_ms) == (35, 1500)
    assert (found.created, found.updated) == (
        datetime(2026, 11, 25, 15, tzinfo=UTC),
        datetime(2026, 11, 25, 15, 10, tzinfo=UTC),
    )


def test_an_error_is_read_back() -> None:
    error = EventError(code="store_full", message="the store is full", hint="make room")
    assert told(event(EventType.FAILED, State.FAILED, error=error)).error == error


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"data": {}}', b'{"data": 1}', b"\xff"])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        told(body)

"""What a batch of events writes. Whom users see is tested with a real broker; here, what is not written again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_agent.api.catalogue import reading
from backup_agent.api.catalogue.database import Database
from backup_agent.api.relay.hearing import BackupTold, Heard
from backup_agent.api.relay.taking import take
from backup_agent.domain.state import State
from tests.unit.api.catalogue import ACCOUNT, INSTANCE, NOW, a_backup, new_catalogue, put

LAX = timedelta(seconds=5)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_catalogue(tmp_path) as database:
        yield database


def progress(backup_id: str, sequence: int, percent: int) -> Heard:
    told: dict[str, Any] = {"id": backup_id, "instance_id": INSTANCE, "name": "nightly", "created": None}
    data = BackupTold.model_validate({**told, "status": "BUILDING", "sequence": sequence, "percent": percent})
    return Heard("backup.progress", NOW, data)


def agent_heard(database: Database) -> datetime | None:
    with database.reading() as connection:
        found = reading.find_instance(connection, INSTANCE, ACCOUNT)
    assert found is not None
    return found.heard


def test_that_an_agent_was_heard_is_not_written_with_each_of_its_events(database: Database) -> None:
    backup = a_backup(status=State.BUILDING, former_status=None, sequence=1, active_instance=INSTANCE)
    put(database, backup)
    for number, seconds in enumerate((0, 4, 5)):
        moment = NOW + timedelta(seconds=seconds)
        assert take(database, [progress(backup.id, 2 + number, number)], moment, lax=LAX).applied == 1
        assert agent_heard(database) == (moment if seconds != 4 else NOW)


def test_progress_changes_what_it_tells_and_nothing_else(database: Database) -> None:
    backup = a_backup(status=State.BUILDING, former_status=None, sequence=1, active_instance=INSTANCE, told=NOW)
    silent = a_backup()
    put(database, backup, silent)
    events = [progress(backup.id, 2, 10), progress(backup.id, 3, 20), progress(backup.id, 2, 10)]
    outcome = take(database, events, NOW)
    assert (outcome.applied, outcome.stale) == (2, 1)
    with database.reading() as connection:
        found = reading.find_backup(connection, backup.id, ACCOUNT)
        assert reading.find_backup(connection, silent.id, ACCOUNT) == silent
    assert found is not None
    assert (found.sequence, found.progress, found.heard, found.updated) == (3, 20, NOW, NOW)
    assert (found.location, found.size, found.created) == (backup.location, backup.size, backup.created)

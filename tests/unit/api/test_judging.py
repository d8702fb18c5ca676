"""What an event changes of a backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from backup_agent.api.catalogue.values import Backup
from backup_agent.api.relay.hearing import BackupTold, Heard
from backup_agent.api.relay.judging import Verdict, changes, judge
from backup_agent.domain.state import State

ID = "61f12fef-edb1-4561-8122-e7c00ef26a82"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BACKUP = Backup(
    id=ID,
    account_id="1234",
    instance_id=INSTANCE,
    active_instance=None,
    parent_id=None,
    name="snapshot",
    description=None,
    status=State.NEW,
    former_status=None,
    created=NOW,
    updated=NOW,
    heard=NOW,
    sequence=5,
    told=NOW,
    phase=None,
    progress=0,
    size=None,
    location=None,
    checksum=None,
    datastore_type=None,
    datastore_version=None,
    datastore_version_id=None,
    error_code=None,
    error_message=None,
    error_hint=None,
    verified=None,
)
POSSIBLE = {
    State.NEW: set(State),
    State.BUILDING: set(State) - {State.NEW},
    State.COMPLETED: {State.COMPLETED, State.DELETING, State.DELETED, State.DELETE_FAILED},
    State.FAILED: {State.FAILED, State.DELETING, State.DELETED, State.DELETE_FAILED},
    State.DELETING: {State.COMPLETED, State.FAILED, State.DELETING, State.DELETED, State.DELETE_FAILED},
    State.DELETE_FAILED: {State.DELETING, State.DELETED, State.DELETE_FAILED},
}


def heard(status: State, *, sequence: int = 6, kind: str = "backup.progress", after: float = 1) -> Heard:
    told = BackupTold.model_validate(
        {
            "id": ID,
            "instance_id": INSTANCE,
            "name": "snapshot",
            "status": status.value,
            "created": "2026-11-25T12:00:00",
            "sequence": sequence,
        }
    )
    return Heard(kind, NOW + timedelta(seconds=after), told)


def verdict(backup: Backup, event: Heard) -> Verdict:
    assert isinstance(event.data, BackupTold)
    return judge(backup, event, event.data)


@pytest.mark.parametrize(("before", "told"), list(product(POSSIBLE, State)))
def test_a_backup_goes_only_the_ways_that_there_are(before: State, told: State) -> None:
    expected = Verdict.APPLIES if told in POSSIBLE[before] else Verdict.IMPOSSIBLE
    assert verdict(replace(BACKUP, status=before), heard(told)) is expected


@pytest.mark.parametrize("told", [State.NEW, State.BUILDING, State.COMPLETED, State.FAILED, State.DELETED])
def test_one_that_was_given_up_goes_where_its_agent_says(told: State) -> None:
    lost = replace(BACKUP, status=State.FAILED, error_code="agent_lost")
    assert verdict(lost, heard(told)) is Verdict.APPLIES


def test_a_deletion_that_was_given_up_may_still_succeed_but_nothing_is_undone() -> None:
    lost = replace(BACKUP, status=State.DELETE_FAILED, error_code="agent_lost")
    assert verdict(lost, heard(State.DELETED)) is Verdict.APPLIES
    assert verdict(lost, heard(State.COMPLETED)) is Verdict.IMPOSSIBLE


@pytest.mark.parametrize("sequence", [1, 4, 5])
def test_what_is_not_newer_than_the_last_is_stale(sequence: int) -> None:
    assert verdict(BACKUP, heard(State.BUILDING, sequence=sequence)) is Verdict.STALE


@pytest.mark.parametrize(("after", "expected"), [(1, Verdict.APPLIES), (0, Verdict.STALE), (-1, Verdict.STALE)])
def test_a_deletion_by_an_agent_that_counts_anew_is_known_by_its_time(after: float, expected: Verdict) -> None:
    completed = replace(BACKUP, status=State.COMPLETED)
    assert verdict(completed, heard(State.DELETED, sequence=1, after=after)) is expected


def test_a_deletion_keeps_what_it_shows_as_until_it_has_failed() -> None:
    completed = replace(BACKUP, status=State.COMPLETED)
    event = heard(State.DELETING)
    assert isinstance(event.data, BackupTold)
    deleting = replace(completed, **changes(completed, event, event.data, NOW))
    assert (deleting.status, deleting.former_status) == (State.DELETING, State.COMPLETED)
    again = replace(deleting, **changes(deleting, heard(State.DELETING, sequence=7), event.data, NOW))
    assert again.former_status is State.COMPLETED
    failed = heard(State.DELETE_FAILED, sequence=8)
    assert isinstance(failed.data, BackupTold)
    ended = replace(again, **changes(again, failed, failed.data, NOW))
    assert (ended.status, ended.former_status) == (State.DELETE_FAILED, None)


def test_an_agents_clock_moves_no_backup_into_the_future_or_back() -> None:
    for after, expected in ((3600.0, NOW), (-3600.0, NOW)):
        event = heard(State.BUILDING, after=after)
        assert isinstance(event.data, BackupTold)
        assert changes(BACKUP, event, event.data, NOW)["updated"] == expected

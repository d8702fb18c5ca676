"""What an event changes of a backup: pure decisions.

An event counts once, by its sequence number. A backup goes only the ways of `domain.state.TRANSITIONS`, but may skip
steps of them (an event may have been lost with a queue); and one that was given up because nothing was heard of its
agent goes wherever the agent, come back, says that it is.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any

from backup_agent.api.catalogue.values import ACTIVE, Backup
from backup_agent.api.relay.hearing import DELETE_FAILED, RESTORED, VERIFIED, BackupTold, Heard
from backup_agent.domain.state import TRANSITIONS, State
from backup_agent.errors import ErrorCode


class Verdict(Enum):
    APPLIES = auto()
    STALE = auto()
    """It was heard before, or something later was."""
    FOREIGN = auto()
    """The backup is another instance's."""
    IMPOSSIBLE = auto()
    """No backup goes that way."""


def judge(backup: Backup, heard: Heard, told: BackupTold) -> Verdict:
    if told.instance_id != backup.instance_id:
        return Verdict.FOREIGN
    if not _is_news(backup, heard, told):
        return Verdict.STALE
    if heard.type in (VERIFIED, RESTORED):
        return Verdict.APPLIES
    return Verdict.APPLIES if _may_become(backup, told.status) else Verdict.IMPOSSIBLE


def changes(backup: Backup, heard: Heard, told: BackupTold, now: datetime) -> dict[str, Any]:
    """The columns that get other values. For an event that applies and does not end in DELETED."""
    changed: dict[str, Any] = {"sequence": told.sequence, "told": heard.time, "heard": now}
    if heard.type in (VERIFIED, RESTORED):
        return changed | (_verification(told) if told.verification is not None else {})
    status = told.status
    keeps = backup.status is State.DELETING and status not in (State.DELETED, State.DELETE_FAILED)
    changed["updated"] = max(backup.updated, min(heard.time, now))
    if not keeps:
        changed |= {"status": status, "former_status": _former(backup, told), **error_columns(told)}
    if status in ACTIVE or status is State.COMPLETED:
        changed |= _content(told)
    return changed


def is_gone(heard: Heard, told: BackupTold) -> bool:
    """Also when it could not be deleted, because there is nothing."""
    nothing = told.error is not None and told.error.code == ErrorCode.BACKUP_NOT_FOUND
    return told.status is State.DELETED or (heard.type == DELETE_FAILED and nothing)


def _former(backup: Backup, told: BackupTold) -> State | None:
    """What a deletion began with: while it is under way, and when it was refused."""
    refused = told.status is State.DELETE_FAILED and told.error is not None and told.error.status is not None
    if told.status is State.DELETING or refused:
        return backup.former_status or backup.status
    return None


def _verification(told: BackupTold) -> dict[str, Any]:
    """A backup that can't be relied on says so, and stays what it is."""
    return {"verified": told.verified_at, **error_columns(told)}


def _content(told: BackupTold) -> dict[str, Any]:
    found: dict[str, Any] = {"progress": told.percent, "phase": told.phase}
    if told.parent_id is not None:
        found["parent_id"] = told.parent_id
    if told.status is State.COMPLETED:
        found |= {"size": told.size, "location": told.location, "checksum": told.checksum}
    if told.datastore is not None:
        found |= datastore_columns(told)
    return found


def datastore_columns(told: BackupTold) -> dict[str, Any]:
    datastore = told.datastore
    return {
        "datastore_type": datastore.type if datastore else None,
        "datastore_version": datastore.version if datastore else None,
        "datastore_version_id": datastore.version_id if datastore else None,
    }


def error_columns(told: BackupTold) -> dict[str, Any]:
    error = told.error
    return {
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "error_hint": error.hint if error else None,
    }


def _is_news(backup: Backup, heard: Heard, told: BackupTold) -> bool:
    if told.sequence > backup.sequence:
        return True
    # An agent whose journal has forgotten the backup counts from 1 again when it deletes or verifies it.
    restarts = told.status in (State.DELETED, State.DELETE_FAILED) or heard.type in (VERIFIED, RESTORED)
    return restarts and backup.told is not None and heard.time > backup.told


def _may_become(backup: Backup, status: State) -> bool:
    if status is backup.status or status in _reachable(backup.status):
        return True
    if backup.error_code != ErrorCode.AGENT_LOST:
        return False
    # FAILED and DELETE_FAILED were our guesses.
    return status is not State.DELETING and (backup.status is State.FAILED or status is State.DELETED)


@cache
def _reachable(state: State) -> frozenset[State]:
    found: set[State] = set()
    ahead = set(TRANSITIONS[state])
    while ahead:
        found |= ahead
        ahead = {after for before in ahead for after in TRANSITIONS[before]} - found
    if state is State.DELETING:  # a deletion under way says nothing new of what it deletes
        found |= {State.COMPLETED, State.FAILED}
    return frozenset(found)

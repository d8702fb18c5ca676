"""The states of a backup and the only ways between them.

The names are Trove's. `DELETING` and later belong to deletion; the daemon and the control plane use the same table.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    NEW = "NEW"
    BUILDING = "BUILDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    DELETE_FAILED = "DELETE_FAILED"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.BUILDING, State.FAILED}),
    State.BUILDING: frozenset({State.COMPLETED, State.FAILED}),
    State.COMPLETED: frozenset({State.DELETING}),
    State.FAILED: frozenset({State.DELETING}),
    State.DELETING: frozenset({State.DELETED, State.DELETE_FAILED}),
    State.DELETE_FAILED: frozenset({State.DELETING}),
    State.DELETED: frozenset(),
}


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.DELETED, State.DELETE_FAILED})
"""Nothing happens to a backup in these by itself."""


class Phase(StrEnum):
    """Where a BUILDING backup is."""

    LOCKING = "locking"
    COPYING = "copying"
    BLOCKING = "blocking"
    """Non-transactional tables are write-locked."""
    FINISHING = "finishing"
    COMMITTING = "committing"


def check_transition(current: State, new: State) -> None:
    """Raises ValueError when a backup may not go from `current` to `new`: a fault of the program, not of the user."""
    if new not in TRANSITIONS[current]:
        msg = f"a backup can't go from {current} to {new}"
        raise ValueError(msg)

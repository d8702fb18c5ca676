"""The states of a backup."""

from __future__ import annotations

from itertools import product

import pytest

from backup_agent.domain.state import TRANSITIONS, State, check_transition

ALLOWED = {
    (State.NEW, State.BUILDING),
    (State.NEW, State.FAILED),
    (State.BUILDING, State.COMPLETED),
    (State.BUILDING, State.FAILED),
    (State.COMPLETED, State.DELETING),
    (State.FAILED, State.DELETING),
    (State.DELETING, State.DELETED),
    (State.DELETING, State.DELETE_FAILED),
    (State.DELETE_FAILED, State.DELETING),
}


@pytest.mark.parametrize(("current", "new"), list(product(State, State)))
def test_a_backup_goes_only_the_ways_there_are(current: State, new: State) -> None:
    if (current, new) in ALLOWED:
        check_transition(current, new)
    else:
        with pytest.raises(ValueError, match=f"can't go from {current} to {new}"):
            check_transition(current, new)


def test_only_deleted_is_the_end() -> None:
    assert [state for state in State if not TRANSITIONS[state]] == [State.DELETED]

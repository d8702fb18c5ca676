"""How a command must end that can't do what it was asked."""

from __future__ import annotations

from tests.agent import Outcome

STATUS = {"config": 3, "rejected": 4, "busy": 5, "instance": 6, "engine": 7, "store": 8, "integrity": 9, "target": 10}
"""The documented exit statuses, by what was wrong."""


def refused(outcome: Outcome, code: str, kind: str, *words: str) -> None:
    """Fails unless the command ended with the error `code`, its exit status, a hint and `words` in its message."""
    error = outcome.error
    assert (error["code"], outcome.status) == (code, STATUS[kind]), outcome.stderr
    assert len(error["hint"]) > 10
    missing = [word for word in words if word not in error["event"]]
    assert not missing, error["event"]
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr

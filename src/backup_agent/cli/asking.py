"""A question to a person at a terminal."""

from __future__ import annotations

import os
import sys
import threading

import typer

from backup_agent.cancellation import Cancellation

_TICK = 0.1
"""Seconds between two looks at the cancellation."""
_LONGEST = 1 << 10


def can_answer(*, terminal: bool) -> bool:
    """Whether somebody is there who sees the question (`terminal`) and can answer it."""
    return terminal and sys.stdin.isatty()


def agreed(question: str, cancellation: Cancellation) -> bool:
    """Whether the answer is yes. Raises the cancellation's reason.

    Read in a thread of its own, which is left to its fate when the cancellation comes: a signal whose handler returns
    does not end a read.
    """
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(_line()), name="answer", daemon=True)
    reader.start()
    while reader.is_alive():
        cancellation.check()
        reader.join(_TICK)
    return answers[0].strip().lower() in (b"y", b"yes")


def _line() -> bytes:
    try:
        return os.read(sys.stdin.fileno(), _LONGEST)
    except OSError:
        return b""  # the terminal is gone: that is no yes

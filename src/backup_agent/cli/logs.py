"""Where logs go: standard error, JSON lines, or readable ones on a terminal. Never with the values of variables."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

import structlog


class _Sink:
    """Standard error as it is at that moment, since a progress bar replaces it.

    A log that can't be written, its disk full or its reader gone, must not cost a backup: the line is lost.
    """

    def __init__(self, *_: object) -> None:
        """Takes no notice of the logger's name, which structlog hands over."""

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def configure(level: str, *, readable: bool) -> None:
    """`level` is debug, info, warning or error."""
    if readable:
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if readable else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_Sink,
        cache_logger_on_first_use=False,
    )

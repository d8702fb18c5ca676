"""What libraries log, in our log: warnings and worse, as lines like ours."""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger(__name__)

_SILENT = logging.CRITICAL + 1


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, "a library says", logger=record.name, message=record.getMessage()[:1000])


def route() -> None:
    """For this process."""
    logging.basicConfig(handlers=[_Handler()], level=logging.WARNING, force=True)
    # What it says of requests that are no HTTP, anybody can make it say.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    # It tells of each connection that was lost; the call that needed it fails, and we tell of that.
    logging.getLogger("sqlalchemy.pool").setLevel(_SILENT)
    # At each start, it advises on options that are not ours to set; and of each wrong token.
    logging.getLogger("keystonemiddleware").setLevel(logging.ERROR)

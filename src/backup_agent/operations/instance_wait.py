"""A backup that comes while an operation on the instance is carried out: it waits for its end, but not for long.

By a person's or a timer's run-once, it waits for the lock, here. By a message, it waits in the daemon's queue, and the
daemon says whether it has waited too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.instance_command import INSTANCE_COMMANDS
from backup_agent.errors import BusyError, ErrorCode
from backup_agent.operations.services import BackupServices

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1


@contextmanager
def backup_lock(services: BackupServices, backup_id: str, cancellation: Cancellation) -> Iterator[None]:
    """The instance's lock, for a backup. Raises BusyError; nobody but such an operation is waited for."""
    deadline = services.clock.monotonic() + services.operation_wait
    waits = False
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(services.lock("backup", backup_id, cancellation))
                break
            except BusyError:
                holder = services.lock_holder()
                operation = holder is not None and holder.command in INSTANCE_COMMANDS
                if not operation or services.clock.monotonic() >= deadline:
                    raise
                if not waits:
                    waits = True
                    log.info("the backup waits for an operation on the instance", backup_id=backup_id)
            cancellation.check()
            cancellation.wait(_LOOK_SECONDS)
        yield


@dataclass(frozen=True, slots=True)
class Operated:
    """Operations on the instance that were carried out one after the other, without a pause."""

    last: str
    """The kind of the last one."""
    began: datetime
    ended: datetime


def too_late(services: BackupServices, received: datetime, operated: Operated) -> BusyError | None:
    """Why a backup that came at `received` is refused after these: it had to wait for them for too long."""
    waited = (operated.ended - max(received, operated.began)).total_seconds()
    if waited <= services.operation_wait:
        return None
    return BusyError(
        ErrorCode.INSTANCE_BUSY,
        f"instance is busy: {operated.last} went on for longer than {services.operation_wait:g} s",
        "Ask again; administration.backup_wait_s says how long a backup waits.",
    )

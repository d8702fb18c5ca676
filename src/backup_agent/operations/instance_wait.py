"""A backup that comes while an operation on the instance is carried out: it waits for its end, but not for long.

By a person's or a timer's run-once, it waits for the lock, here. By a message, it waits in the daemon's queue, and the
daemon says whether it has waited too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.errors import BusyError, ErrorCode
from backup_agent.operations.services import BackupServices

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1
_OPERATIONS = "instance."


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
                operation = holder is not None and holder.command.startswith(_OPERATIONS)
                if not operation or services.clock.monotonic() >= deadline:
                    raise
                if not waits:
                    waits = True
                    log.info("the backup waits for an operation on the instance", backup_id=backup_id)
            cancellation.check()
            cancellation.wait(_LOOK_SECONDS)
        yield


def too_late(services: BackupServices, received: datetime, kind: str, ended: datetime) -> BusyError | None:
    """Why a backup that came at `received`, while an operation of this kind went on that ended then, is refused now."""
    waited = (services.clock.now() - received).total_seconds()
    if received >= ended or waited <= services.operation_wait:
        return None
    return BusyError(
        ErrorCode.INSTANCE_BUSY,
        f"instance is busy: {kind} went on for longer than the {services.operation_wait:g} s that a backup waits",
        "Ask again; administration.backup_wait_s says how long a backup waits.",
    )

"""A task that needs no lock of the instance, such as a verification of hours, in a thread of its own beside the worker.

One at a time. The thread lasts as long as its task; what the task starts dies with it. What it does not do: look for
tasks, which is the worker's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InterruptedByOperator
from backup_agent.journal.tasks import Task
from backup_agent.operations.kinds import KINDS
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import carry_out

log = structlog.get_logger(__name__)

_BUSY_PAUSE = 5.0
"""Seconds until a task that could not be done at that moment is tried again."""


class Aside:
    """For the worker's thread; `stop` from any."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._thread: threading.Thread | None = None
        self._cancellation = Cancellation()
        self._not_before = float("-inf")
        self.task: Task | None = None
        """The one at work."""

    def takes(self, task: Task) -> bool:
        """Whether it is one of those that are carried out beside others."""
        kind = KINDS.get(task.kind)
        return kind is not None and kind.beside

    @property
    def free(self) -> bool:
        return self.task is None and time.monotonic() >= self._not_before and not self._cancellation.cancelled

    def begin(self, task: Task, services: BackupServices) -> None:
        """To be called when it is `free`."""
        self.task = task
        self._thread = threading.Thread(target=self._run, args=(task, services), name="aside", daemon=True)
        self._thread.start()

    def stop(self, reason: InterruptedByOperator) -> None:
        """What is at work is begun anew at the next start. Does not wait for its end."""
        self._cancellation.cancel(reason)

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, task: Task, services: BackupServices) -> None:
        try:
            carry_out(task, services, self._cancellation)
        except BusyError as error:
            log.info("a command waits", kind=task.kind, backup_id=task.backup_id, reason=error.message)
            self._not_before = time.monotonic() + _BUSY_PAUSE
        except BackupAgentError as error:
            log.info("the command failed", kind=task.kind, backup_id=task.backup_id, code=error.code)
            self._not_before = time.monotonic() + _BUSY_PAUSE
        except Exception:
            log.exception("internal error", code=ErrorCode.INTERNAL, kind=task.kind, backup_id=task.backup_id)
        finally:
            self.task = None
            self._on_end()

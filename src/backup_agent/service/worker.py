"""Carries out what waits in the journal, backups and tasks, one at a time and in order, in a thread of its own.

Tasks that need no lock of the instance are carried out beside that (service.aside).

The engine's life is bound to that thread, which therefore lives as long as the agent does. First of all it brings to an
end what an earlier process has left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.state import TERMINAL
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InterruptedByOperator, JournalError
from backup_agent.journal.interface import Job, Origin
from backup_agent.journal.tasks import Task
from backup_agent.operations.backup import create_backup
from backup_agent.operations.instance_wait import Operated, too_late
from backup_agent.operations.job import Asked, cancelled, is_orphan
from backup_agent.operations.kinds import OPERATIONS
from backup_agent.operations.recover import recover
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import carry_out
from backup_agent.service.aside import Aside
from backup_agent.stream.memory import give_back_freed_memory

log = structlog.get_logger(__name__)

_BEAT = 1.0
"""Seconds between two signs of life while nothing is to be done."""
_LOOK_EVERY = 5.0
"""Seconds between two looks into the journal without a call: nothing should be there."""
_LONGEST_PAUSE = 30.0
"""Seconds between two tries to recover, at most."""
_BUSY_PAUSE = 5.0
"""Seconds until a task that found the instance busy is tried again."""
_FORGET_EVERY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Running:
    backup_id: str | None
    """None for the recovery."""
    doing: str = "asked for"
    cancellation: Cancellation = field(default_factory=Cancellation)
    hurry: Cancellation = field(default_factory=Cancellation)


class Worker:
    """All but `run` may be called from any thread; `run` ends after `stop`, or raises what makes going on senseless."""

    def __init__(self, services: BackupServices, *, keep: timedelta) -> None:
        """Jobs that ended are forgotten after `keep`."""
        self._services = services
        self._keep = keep
        self._next_services: BackupServices | None = None
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._stopping = False
        self._running: _Running | None = None
        self._beaten = time.monotonic()
        self._forgotten = float("-inf")
        self._recover_again = float("-inf")
        self._pause = _BEAT
        self._busy_until = float("-inf")
        self._aside = Aside(self._wake.set)
        self._operated: Operated | None = None
        """What has kept a backup waiting just now."""
        self.looked = threading.Event()
        """Set when it is known what earlier processes have left, or why that can't be known yet."""
        self.recovered = threading.Event()
        """Set when nothing of that is left, or another process is at work, and new commands may come."""
        self.trouble: str | None = None
        """What keeps it from recovering."""

    @property
    def alive_at(self) -> float:
        """The monotonic time of its last sign of life: each look whether to go on is one."""
        running = self._running
        if running is None:
            return self._beaten
        return max(self._beaten, running.cancellation.looked_at, running.hurry.looked_at)

    @property
    def running(self) -> str | None:
        """The id of the backup at work."""
        running, aside = self._running, self._aside.task
        return running.backup_id if running is not None else aside.backup_id if aside is not None else None

    @property
    def doing(self) -> str:
        """What for."""
        running, aside = self._running, self._aside.task
        return running.doing if running is not None else aside.kind if aside is not None else _Running(None).doing

    def wake(self) -> None:
        """Something waits in the journal."""
        self._wake.set()

    def use(self, services: BackupServices) -> None:
        """For all that comes after the running backup."""
        with self._lock:
            self._next_services = services
            self._recover_again = float("-inf")
        self._wake.set()

    def cancel(self, backup_id: str) -> None:
        """Ends that backup, if it is at work."""
        with self._lock:
            running = self._running
        if running is not None and running.backup_id == backup_id:
            running.cancellation.cancel(cancelled(backup_id))

    def stop(self, *, cancel: bool) -> None:
        """Begins nothing new; what waits is for the next start. `cancel` also ends the backup at work.

        A recovery, and what is done beside it, are ended in any case: the next start goes on with them.
        """
        self._aside.stop(_stopped())
        with self._lock:
            self._stopping = True
            running = self._running
        self._wake.set()
        if running is not None and (cancel or running.backup_id is None):
            running.cancellation.cancel(_stopped())

    def hurry(self) -> None:
        """Cuts the clean-up short."""
        self.stop(cancel=True)
        running = self._running
        if running is not None:
            running.hurry.cancel(_stopped())

    def run(self) -> None:
        """Raises JournalError, and what is a fault of this program."""
        while not self._stopping:
            self._adopt()
            active = self._active()
            if not self.recovered.is_set() or any(is_orphan(one) for one in active):
                if not self._recover():
                    self._rest(_BEAT)
                    continue
                active = self._active()
            self.recovered.set()
            self.looked.set()
            self._begin_aside(active)
            match next(filter(self._waits, active), None):
                case Job() as job:
                    self._carry_out(job)
                case Task() as task:
                    self._carry_out_task(task)
                case None:
                    self._idle()
        self._aside.join()

    def _begin_aside(self, active: Sequence[Job | Task]) -> None:
        waiting = (one for one in active if isinstance(one, Task) and one.owner is None and self._aside.takes(one))
        if self._aside.free and (task := next(waiting, None)) is not None:
            self._aside.begin(task, self._services)

    def _waits(self, one: Job | Task) -> bool:
        """A task that found the instance busy comes again after a while. What was begun by hand is gone on with."""
        if isinstance(one, Task):
            waits = one.owner is None and not self._aside.takes(one)
            return waits and time.monotonic() >= self._busy_until
        return one.owner is None and one.origin is Origin.QUEUE

    def _adopt(self) -> None:
        with self._lock:
            if self._next_services is not None:
                self._services, self._next_services = self._next_services, None

    def _active(self) -> Sequence[Job | Task]:
        """All that has not ended, in the order in which it came."""
        self._beaten = time.monotonic()
        self._wake.clear()
        journal = self._services.journal
        return sorted([*journal.active(), *journal.tasks()], key=lambda one: one.received)

    def _recover(self) -> bool:
        """Whether to go on: not while it is unknown how an interrupted backup ended."""
        if time.monotonic() < self._recover_again:
            return self.trouble is None
        self.trouble = None
        try:
            self._recover_once()
        except BusyError as error:
            if self._pause == _BEAT:
                log.info("what was interrupted is cleaned up when the instance is free", reason=error.message)
            self._back_off()
        except JournalError:
            raise
        except BackupAgentError as error:
            log.warning("can't recover yet", code=error.code, reason=error.message, hint=error.hint)
            self.trouble = error.message
            self.looked.set()
            self._back_off()
        else:
            self._pause = _BEAT
        return self.trouble is None

    def _back_off(self) -> None:
        self._recover_again = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _recover_once(self) -> None:
        if (running := self._take(None)) is None:
            return
        try:
            with self._services.lock("recovery", None, running.cancellation):
                recover(self._services, running.cancellation)
        except InterruptedByOperator:
            if not self._stopping:
                raise
        finally:
            self._running = None

    def _take(self, backup_id: str | None, doing: str = "asked for") -> _Running | None:
        """None when it is not to begin any more."""
        with self._lock:
            if self._stopping:
                return None
            self._running = _Running(backup_id, doing)
            return self._running

    def _carry_out(self, job: Job) -> None:
        if (running := self._take(job.id)) is None:
            return
        try:
            late = None if self._operated is None else too_late(self._services, job.received, self._operated)
            asked = Asked(job.origin, job.expires, late)
            create_backup(job.command, asked, self._services, running.cancellation, running.hurry)
        except JournalError:
            raise
        except BackupAgentError as error:
            log.info("the backup did not complete", backup_id=job.id, code=error.code)
        except Exception:
            log.exception("internal error", code=ErrorCode.INTERNAL, backup_id=job.id)
            if self._is_open(job):  # nobody here could end it any more: the next start can
                raise
        finally:
            self._operated = None
            self._running = None
            give_back_freed_memory()

    def _carry_out_task(self, task: Task) -> None:
        if (running := self._take(task.backup_id, task.kind)) is None:
            return
        began = self._services.clock.now()
        try:
            carry_out(task, self._services, running.cancellation)
        except JournalError:
            raise
        except BusyError as error:
            log.info("a command waits for the instance", kind=task.kind, reason=error.message)
            self._busy_until = time.monotonic() + _BUSY_PAUSE
        except BackupAgentError as error:
            log.info("the command failed", kind=task.kind, backup_id=task.backup_id, code=error.code)
        except Exception:
            log.exception("internal error", code=ErrorCode.INTERNAL, kind=task.kind, backup_id=task.backup_id)
        finally:
            if task.kind in OPERATIONS:
                began = self._operated.began if self._operated is not None else began
                self._operated = Operated(task.kind, began, self._services.clock.now())
            self._running = None
            give_back_freed_memory()

    def _is_open(self, job: Job) -> bool:
        found = self._services.journal.job(job.id)
        return found is not None and found.state not in TERMINAL

    def _idle(self) -> None:
        self._operated = None
        if time.monotonic() - self._forgotten > _FORGET_EVERY:
            self._forgotten = time.monotonic()
            self._forget()
        self._rest(_LOOK_EVERY)

    def _forget(self) -> None:
        try:
            self._services.journal.forget_before(self._services.clock.now() - self._keep)
        except JournalError as error:  # a full disk, say: what has to be written will tell
            log.warning("old jobs can't be forgotten", code=error.code, reason=error.message)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._wake.wait(min(left, _BEAT)) and not self._stopping:
            self._beaten = time.monotonic()


def _stopped() -> InterruptedByOperator:
    return InterruptedByOperator(
        ErrorCode.INTERRUPTED, "the agent was stopped", "Ask for a new backup when the agent runs again."
    )

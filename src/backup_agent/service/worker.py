"""Carries out what waits in the journal, backups and tasks, one at a time and in order, in a thread of its own.

Tasks that need no lock of the instance are carried out beside that (service.aside).

The engine's life is bound to that thread, which therefore lives as long as the agent does. First of all it brings to an
end what an earlier process has left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import structlog

from backup_agent.domain.state import TERMINAL
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InterruptedByOperator, JournalError
from backup_agent.journal.interface import Job, Origin
from backup_agent.journal.tasks import Task
from backup_agent.operations.backup import create_backup
from backup_agent.operations.instance_wait import Operated, too_late
from backup_agent.operations.job import Asked, is_orphan
from backup_agent.operations.kinds import OPERATIONS
from backup_agent.operations.recover import recover
from backup_agent.operations.services import BackupServices
from backup_agent.operations.task_run import carry_out
from backup_agent.service.aside import Aside
from backup_agent.service.at_work import AtWork, Running, stopped
from backup_agent.service.recovery import Recovery
from backup_agent.stream.memory import give_back_freed_memory

log = structlog.get_logger(__name__)

_BEAT = 1.0
"""Seconds between two signs of life while nothing is to be done."""
_LOOK_EVERY = 5.0
"""Seconds between two looks into the journal without a call: nothing should be there."""
_BUSY_PAUSE = 5.0
"""Seconds until a task that found the instance busy is tried again."""
_FORGET_EVERY = 86_400.0


class Worker:
    """All but `run` may be called from any thread; `run` ends after `stop`, or raises what makes going on senseless."""

    def __init__(self, services: BackupServices, *, keep: timedelta) -> None:
        """Jobs that ended are forgotten after `keep`."""
        self._services = services
        self._keep = keep
        self._next_services: BackupServices | None = None
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._at_work = AtWork()
        self._recovery = Recovery()
        self._beaten = time.monotonic()
        self._forgotten = float("-inf")
        self._busy_until = float("-inf")
        self._aside = Aside(self._wake.set)
        self._operated: Operated | None = None
        """What has kept a backup waiting just now."""
        self.looked = self._recovery.looked
        self.recovered = self._recovery.recovered
        """What these two mean, the recovery says."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from recovering."""
        return self._recovery.trouble

    @property
    def alive_at(self) -> float:
        """The monotonic time of its last sign of life: each look whether to go on is one."""
        running = self._at_work.running
        return self._beaten if running is None else max(self._beaten, running.alive_at)

    @property
    def running(self) -> str | None:
        """The id of the backup at work."""
        running, aside = self._at_work.running, self._aside.task
        return running.backup_id if running is not None else aside.backup_id if aside is not None else None

    @property
    def doing(self) -> str:
        """What for."""
        running, aside = self._at_work.running, self._aside.task
        return running.doing if running is not None else aside.kind if aside is not None else Running(None).doing

    def wake(self) -> None:
        """Something waits in the journal."""
        self._wake.set()

    def use(self, services: BackupServices) -> None:
        """For all that comes after the running backup."""
        with self._lock:
            self._next_services = services
            self._recovery.at_once()
        self._wake.set()

    def cancel(self, backup_id: str) -> None:
        """Ends that backup, if it is at work."""
        self._at_work.cancel(backup_id)

    def stop(self, *, cancel: bool) -> None:
        """Begins nothing new; what waits is for the next start. `cancel` also ends the backup at work.

        A recovery, and what is done beside it, are ended in any case: the next start goes on with them.
        """
        self._aside.stop(stopped())
        self._at_work.stop(cancel=cancel)
        self._wake.set()

    def hurry(self) -> None:
        """Cuts the clean-up short."""
        self.stop(cancel=True)
        self._at_work.hurry()

    def run(self) -> None:
        """Raises JournalError, and what is a fault of this program."""
        while not self._at_work.stopping:
            self._adopt()
            active = self._active()
            if not self.recovered.is_set() or any(is_orphan(one) for one in active):
                if not self._recovery.attempt(self._recover):
                    self._rest(_BEAT)
                    continue
                active = self._active()
            self._recovery.settled()
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

    def _recover(self) -> None:
        if (running := self._at_work.begin(None)) is None:
            return
        try:
            with self._services.lock("recovery", None, running.cancellation):
                recover(self._services, running.cancellation)
        except InterruptedByOperator:
            if not self._at_work.stopping:
                raise
        finally:
            self._at_work.end()

    def _carry_out(self, job: Job) -> None:
        if (running := self._at_work.begin(job.id)) is None:
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
            self._at_work.end()
            give_back_freed_memory()

    def _carry_out_task(self, task: Task) -> None:
        if (running := self._at_work.begin(task.backup_id, task.kind)) is None:
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
            self._at_work.end()
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
        while (
            (left := until - time.monotonic()) > 0
            and not self._wake.wait(min(left, _BEAT))
            and not self._at_work.stopping
        ):
            self._beaten = time.monotonic()

"""Carries out one operation on the instance: under the instance's lock, its end and the answer in one transaction.

It does not wait for a backup: found at work, that is the reason to refuse. An operation that was begun before a crash
is not refused any more, and waits.
"""

from __future__ import annotations

from typing import Any

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.event import InstanceEvent
from backup_agent.errors import (
    BackupAgentError,
    BusyError,
    ErrorCode,
    InterruptedByOperator,
    JournalError,
)
from backup_agent.instance.process import this_process
from backup_agent.journal.tasks import Task
from backup_agent.operations import instance_answer
from backup_agent.operations.instance_answer import Answers, busy_with
from backup_agent.operations.instance_operation import Operation, Result, Work, notes_of, unavailable
from backup_agent.operations.instance_secrets import revealed
from backup_agent.operations.job import expired
from backup_agent.operations.recover import recover
from backup_agent.operations.services import BackupServices

log = structlog.get_logger(__name__)

_OTHERS_SECONDS = 5.0
"""How long somebody else than a backup may have the lock (a check, a recovery) before the operation is refused."""
_LOOK_SECONDS = 0.1


def carry_out(operation: Operation[Any], task: Task, services: BackupServices, cancellation: Cancellation) -> None:
    """Returns when it was done, and answered. Raises BackupAgentError when it was not; that is answered too.

    BusyError and InterruptedByOperator: it waits, to be gone on with later.
    """
    answers = Answers(services.policy, services.clock)
    with services.journal.transaction() as transaction:
        transaction.tasks.begin(task.id, this_process())
    running = _Running(operation, task, services, cancellation)
    try:
        result = running.run()
    except (BusyError, InterruptedByOperator):
        with services.journal.transaction() as transaction:
            transaction.tasks.release(task.id, counts=False)
        raise
    except JournalError:
        raise
    except BackupAgentError as error:
        _end(services, task, answers.not_done(task, running.request, error, begun=running.begun), succeeded=False)
        raise
    except Exception as error:
        fault = BackupAgentError(ErrorCode.INTERNAL, f"internal error: {type(error).__name__}", "Please report it.")
        _end(services, task, answers.not_done(task, running.request, fault, begun=running.begun), succeeded=False)
        raise
    _end(services, task, answers.done(task, running.request, result), succeeded=True)


class _Running:
    """One attempt."""

    def __init__(
        self, operation: Operation[Any], task: Task, services: BackupServices, cancellation: Cancellation
    ) -> None:
        self._operation = operation
        self._task = task
        self._services = services
        self._cancellation = cancellation
        self._notes = notes_of(task)
        self._work: Work | None = None
        self.request = self._notes.request

    @property
    def begun(self) -> bool:
        return (self._work.notes if self._work is not None else self._notes).begun

    def run(self) -> Result:
        services, task = self._services, self._task
        if task.expires is not None and task.expires <= services.clock.now() and not self.begun:
            raise expired(task.expires)
        if task.attempts >= services.retries.at_most:
            raise BackupAgentError(
                ErrorCode.INTERRUPTED,
                f"the agent died {task.attempts} times while it carried out {task.kind}",
                "See the agent's log and the kernel's for why it died; then look how much of it was done.",
            )
        administered = services.administration
        if administered is None:
            raise unavailable(task.kind, "Set administration.enabled; see docs/administration.md.")
        command = revealed(self._operation.model, task.command, self._notes.hashes)
        self._operation.check(command, administered.reserved)
        self._work = Work(task, services, administered, self._cancellation)
        return self._locked(command, self._work)

    def _locked(self, command: Any, work: Work) -> Result:  # noqa: ANN401 - of the operation's own model
        services = self._services
        give_up = services.clock.monotonic() + _OTHERS_SECONDS
        while True:
            try:
                with services.lock(self._operation.name, None, self._cancellation):
                    recover(services, self._cancellation)
                    return self._operation.carry_out(command, work)
            except BusyError as error:
                if self.begun:
                    raise
                holder = services.lock_holder()
                backup_id = holder.backup_id if holder is not None else None
                if backup_id is not None or services.clock.monotonic() >= give_up:
                    raise busy_with(error, backup_id) from error
            self._cancellation.check()
            self._cancellation.wait(_LOOK_SECONDS)


def _end(services: BackupServices, task: Task, event: InstanceEvent, *, succeeded: bool) -> None:
    with services.journal.transaction() as transaction:
        transaction.tasks.end(task.id, instance_answer.record_of(event), succeeded=succeeded)
    instance_answer.tell(event)

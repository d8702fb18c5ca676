"""The answer to a command on the instance: its event, for the journal's outbox and for the log."""

from __future__ import annotations

import structlog

from backup_agent.domain.event import Ending, EventError, EventType, InstanceEvent
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InUseError, RejectedError
from backup_agent.journal.tasks import AnswerRecord, NewTask, Task
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import Clock, timestamp
from backup_agent.operations.instance_operation import Result
from backup_agent.report.wire import answer_routing_key, encode_answer

log = structlog.get_logger(__name__)

_STATUSES = {
    ErrorCode.NAME_REFUSED: 400,
    ErrorCode.DATABASE_EXISTS: 400,
    ErrorCode.USER_EXISTS: 400,
    ErrorCode.DATABASE_NOT_FOUND: 404,
    ErrorCode.USER_NOT_FOUND: 404,
    ErrorCode.ADMINISTRATION_UNAVAILABLE: 501,
}
"""As Trove answers."""
_UNPROCESSABLE = 422


class InstanceBusy(InUseError):  # noqa: N818 - as its parent's others
    """An operation on the instance is refused while something else is done with it."""

    def __init__(self, message: str, backup_id: str | None) -> None:
        """`backup_id` where that is a backup."""
        super().__init__(ErrorCode.INSTANCE_BUSY, message, "Ask again when that has ended.")
        self.backup_id = backup_id


class Answers:
    """Makes the answers of one agent."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock

    def done(self, task: Task | NewTask, request: str, result: Result) -> InstanceEvent:
        """`request` is the id of the command's message."""
        return self._event(task, request, EventType.INSTANCE_DONE, Ending.DONE, result=result)

    def not_done(self, task: Task | NewTask, request: str, error: BackupAgentError, *, begun: bool) -> InstanceEvent:
        """Rejected when nothing was begun and it could not be done as asked; FAILED otherwise."""
        rejected = isinstance(error, RejectedError) and not begun
        status = _STATUSES.get(error.code, _UNPROCESSABLE) if rejected else None
        return self._event(
            task,
            request,
            EventType.INSTANCE_REJECTED if rejected else EventType.INSTANCE_FAILED,
            Ending.REJECTED if rejected else Ending.FAILED,
            error=EventError(code=error.code.value, message=error.message, hint=error.hint, status=status),
            backup_id=error.backup_id if isinstance(error, InstanceBusy) else None,
        )

    def _event(
        self,
        task: Task | NewTask,
        request: str,
        kind: EventType,
        ending: Ending,
        *,
        result: Result | None = None,
        error: EventError | None = None,
        backup_id: str | None = None,
    ) -> InstanceEvent:
        return InstanceEvent(
            type=kind,
            request_id=request,
            command=task.kind,
            instance_id=self._policy.instance_id,
            account_id=self._policy.account_id,
            status=ending,
            received=timestamp(task.received),
            time=timestamp(self._clock.now()),
            result=result,
            error=error,
            backup_id=backup_id,
        )


def record_of(event: InstanceEvent) -> AnswerRecord:
    return AnswerRecord(event.request_id, event.type, answer_routing_key(event), encode_answer(event))


def tell(event: InstanceEvent) -> None:
    """To the log: what was asked, and how it ended."""
    fields = {"request_id": event.request_id, "command": event.command}
    if event.error is None:
        log.info(event.type.value, **fields)
    else:
        log.warning(event.type.value, **fields, code=event.error.code, reason=event.error.message)


def busy_with(error: BusyError, backup_id: str | None) -> InstanceBusy:
    return InstanceBusy(error.message, backup_id)

"""What becomes of a message that asks for an operation on the instance: a task on disk, or an answer at once.

While a backup waits or runs, it is refused; so are names that are not allowed. One that comes again attaches to its
task, or has its answer told again. Passwords go no further than here. What it does not do: carry anything out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backup_agent.domain.event import InstanceEvent
from backup_agent.domain.instance_command import InstanceCommand
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.inbox.wire import Received
from backup_agent.journal.interface import Job, Journal, Origin, Transaction
from backup_agent.journal.tasks import NewTask, Task, TaskState
from backup_agent.operations import instance_answer
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import Clock
from backup_agent.operations.instance_answer import Answers, InstanceBusy
from backup_agent.operations.instance_operation import Notes, Operation, unavailable
from backup_agent.operations.instance_secrets import concealed
from backup_agent.operations.job import expired, is_orphan
from backup_agent.operations.kinds import OPERATIONS
from backup_agent.operations.services import Administered


class OperationAcceptance:
    """For the inbox's thread."""

    def __init__(
        self,
        journal: Journal,
        policy: Policy,
        clock: Clock,
        administration: Administered | None,
        *,
        on_task: Callable[[], None],
    ) -> None:
        """`on_task` is called when an operation waits, on disk. It must not block."""
        self._journal = journal
        self._policy = policy
        self._clock = clock
        self._administration = administration
        self._answers = Answers(policy, clock)
        self._on_task = on_task

    def __call__(self, received: Received, command: InstanceCommand) -> None:
        """Raises RejectedError for what is to go to the dead letters, and JournalError."""
        self._check_addressee(command)
        text, hashes = concealed(command)
        new = NewTask(
            id=received.id,
            kind=received.type,
            backup_id=None,
            command=text,
            origin=Origin.QUEUE,
            received=self._clock.now(),
            expires=received.expires,
        )
        with self._journal.transaction() as transaction:
            known = transaction.tasks.find(new.id)
            if known is not None:
                _attach(known, new, transaction)
                return
            event = self._take(new, Notes(request=received.request, hashes=hashes), command, transaction)
        if event is not None:
            instance_answer.tell(event)
        self._on_task()

    def _take(
        self, new: NewTask, notes: Notes, command: InstanceCommand, transaction: Transaction
    ) -> InstanceEvent | None:
        """The answer, if it is refused at once."""
        transaction.tasks.add(new)
        refused = self._refusal(OPERATIONS[new.kind], new, command, transaction)
        if refused is None:
            transaction.tasks.note(new.id, notes.model_dump_json())
            return None
        event = self._answers.not_done(new, notes.request, refused, begun=False)
        transaction.tasks.end(new.id, instance_answer.record_of(event), succeeded=False)
        return event

    def _refusal(
        self, operation: Operation[Any], new: NewTask, command: InstanceCommand, transaction: Transaction
    ) -> RejectedError | None:
        if self._administration is None:
            return unavailable(new.kind, "Set administration.enabled; see docs/administration.md.")
        try:
            operation.check(command, self._administration.reserved)
        except RejectedError as error:
            return error
        if new.expires is not None and new.expires <= self._clock.now():
            return expired(new.expires)
        busy = next((job for job in transaction.active() if not is_orphan(job)), None)
        return None if busy is None else _busy(busy)

    def _check_addressee(self, command: InstanceCommand) -> None:
        policy = self._policy
        if (command.instance_id, command.account_id) != (policy.instance_id, policy.account_id):
            raise RejectedError(
                ErrorCode.WRONG_INSTANCE,
                f"the command is for instance {command.instance_id} of account {command.account_id}; "
                f"this agent serves instance {policy.instance_id} of account {policy.account_id}",
                "Send it to the agent of that instance, or mend instance.id and instance.account_id.",
            )


def _busy(job: Job) -> InstanceBusy:
    return InstanceBusy(f"instance is busy: backup {job.id} is being taken", job.id)


def _attach(known: Task, new: NewTask, transaction: Transaction) -> None:
    if (known.kind, known.command) != (new.kind, new.command):
        raise RejectedError(
            ErrorCode.INVALID_MESSAGE,
            "another command came before from the same source with the same id",
            "Give each command an id of its own.",
        )
    if known.state in (TaskState.SUCCEEDED, TaskState.FAILED):
        transaction.tasks.replay(known.id)

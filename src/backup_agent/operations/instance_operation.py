"""What all operations on the instance itself have in common: what one is, what it works with, what it notes.

They are tasks like others, but answer the one who asked, by an event of their own, instead of telling of a backup; and
they never wait for a backup. A kind is added by an Operation in `kinds.py`. What it does not do: carry one out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Reserved
from backup_agent.domain.frozen import Frozen
from backup_agent.domain.instance_command import InstanceCommand, InstanceCommandType
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.journal.tasks import Task
from backup_agent.operations.services import Administered, BackupServices

C = TypeVar("C", bound=InstanceCommand)

Result = dict[str, Any]


class Notes(Frozen):
    """What is kept of an operation beside its command, until it has ended."""

    request: str = ""
    """The id of its message."""
    hashes: tuple[str, ...] = ()
    """Of the passwords in its command, in their order."""
    begun: bool = False
    """From here on it may have had effects: what is there already may be its own."""
    server_started: int | None = None
    """When the server was, as it began."""


class Work:
    """What an operation works with. For the thread that carries it out."""

    def __init__(
        self,
        task: Task,
        services: BackupServices,
        administered: Administered,
        cancellation: Cancellation,
    ) -> None:
        self.task = task
        self.services = services
        self.cancellation = cancellation
        self.server = administered.server
        self.vitals = administered.vitals
        self.power = administered.power
        self.reserved = administered.reserved
        self.power_within = administered.power_within
        self.notes = notes_of(task)
        self.again = self.notes.begun
        """Whether an attempt that was interrupted may have done some of it."""

    def begin(self, server_started: int | None = None) -> None:
        """Nothing may be changed before. On disk when it returns; what failed until here was rejected."""
        self.notes = self.notes.model_copy(update={"begun": True, "server_started": server_started})
        with self.services.journal.transaction() as transaction:
            transaction.tasks.note(self.task.id, self.notes.model_dump_json())


@dataclass(frozen=True, slots=True)
class Operation(Generic[C]):
    """One kind. Idempotent: after a crash it is called again with what it had noted. It holds the instance's lock, and
    what a dead process has left is cleaned up.
    """

    name: InstanceCommandType
    """The type of the command, and what the holder of the lock is said to do."""
    model: type[C]
    check: Callable[[C, Reserved], None]
    """Raises RejectedError for names that are not allowed, without asking the server."""
    carry_out: Callable[[C, Work], Result]
    """The result, for who asked. Raises RejectedError before it has begun, another BackupAgentError afterwards."""


def notes_of(task: Task) -> Notes:
    return Notes() if task.notes is None else Notes.model_validate_json(task.notes)


def unavailable(what: str, hint: str) -> RejectedError:
    return RejectedError(ErrorCode.ADMINISTRATION_UNAVAILABLE, f"{what} is not enabled for this instance", hint)


def no_names(command: InstanceCommand, reserved: Reserved) -> None:
    """The check of a command without names."""
    del command, reserved

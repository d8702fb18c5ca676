"""`backup.verify`, as a task of the queue; and how a verification is told of, whoever asked for it."""

from __future__ import annotations

from backup_agent.domain import resource
from backup_agent.domain.command import VerifyBackup
from backup_agent.domain.event import EventError, EventType
from backup_agent.domain.state import State
from backup_agent.operations.services import BackupServices
from backup_agent.operations.tasks import Kind, Said, Work, numbered
from backup_agent.operations.verify import Verified, VerifyRequest, failure, verify


def carry_out(command: VerifyBackup, work: Work) -> Said:
    """A host has no identities: of an encrypted backup, only level `digest` can be asked for, as it is stored."""
    request = VerifyRequest(command.backup_id, command.level, of_any_instance=False)
    found = verify(request, work.services, work.cancellation, lambda _: None)
    return said(found[-1])


def said(verified: Verified) -> Said:
    """The event of one result. A backup that failed has still COMPLETED: whether it is to go is not decided here."""
    verification = verified.verification
    error = failure((verified,))
    return Said(
        EventType.VERIFIED,
        verification.backup_id,
        State.COMPLETED,
        resource.of_completed(verified.sealed, verified.location, verification),
        error=None if error is None else EventError(code=error.code.value, message=error.message, hint=error.hint),
        verification=verification,
    )


def tell(verified: Verified, services: BackupServices) -> None:
    """For who asked by hand. Raises JournalError."""
    with services.journal.transaction() as transaction:
        event, record = numbered(said(verified), transaction, services.policy.instance_id, services.clock)
        transaction.backups.tell(record)
    services.reporter.publish(event)


VERIFY = Kind(
    name="backup.verify",
    model=VerifyBackup,
    work="verify",
    check=lambda _command, _policy: None,
    refuse=lambda _command, _job: None,
    refuse_beside=lambda _command, _work, _at_work: None,
    carry_out=carry_out,
    failure=EventType.VERIFIED,
    failed_status=None,
    failed_noted=None,
    beside=True,
)

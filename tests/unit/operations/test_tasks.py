"""Commands other than backup.create, from the message to the event: taken over once, carried out, told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.errors import BackupAgentError, BusyError, ErrorCode, InterruptedByOperator
from backup_agent.inbox.interface import Refused
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.journal.interface import Origin
from backup_agent.journal.tasks import NewTask, Task
from backup_agent.operations.accept import Acceptance
from backup_agent.operations.recover import recover
from backup_agent.operations.task_run import carry_out
from tests.agent import ACCOUNT
from tests.daemon import command, create
from tests.shelves import stored
from tests.unit.operations.wired import DEAD, Desk


def delete(backup_id: str, **attributes: Any) -> dict[str, Any]:
    return command("backup.delete", {"backup_id": backup_id, "account_id": ACCOUNT}, **attributes)


def take(desk: Desk, message: dict[str, Any]) -> Refused | None:
    services = desk.services
    accept = Acceptance(
        desk.journal,
        services.policy,
        services.clock,
        services.reporter,
        on_job=lambda: None,
        on_cancel=lambda _: None,
    )
    return accept(json.dumps(message).encode())


def the_task(desk: Desk) -> Task:
    (task,) = desk.journal.tasks()
    return task


def fails(desk: Desk) -> ErrorCode:
    with pytest.raises(BackupAgentError) as caught:
        carry_out(the_task(desk), desk.services, Cancellation())
    return caught.value.code


def test_a_command_that_comes_twice_is_one_task_and_then_hears_its_event_again(desk: Desk) -> None:
    message = delete(desk.shelf.twin)
    assert take(desk, message) is None
    assert take(desk, message) is None
    assert take(desk, delete(desk.shelf.twin)) is None, "the same, asked for once more"
    carry_out(the_task(desk), desk.services, Cancellation())
    assert desk.journal.tasks() == []
    assert desk.heard.kinds == desk.outbox == [("backup.deleted", desk.shelf.twin)]
    assert take(desk, message) is None
    assert desk.journal.tasks() == []
    assert desk.outbox == [("backup.deleted", desk.shelf.twin)] * 2
    assert desk.shelf.twin not in stored(desk.agent)


def test_another_command_with_the_id_of_one_that_came_is_refused(desk: Desk) -> None:
    message = delete(desk.shelf.twin)
    take(desk, message)
    refused = take(desk, {**delete(desk.shelf.base), "id": message["id"]})
    assert refused is not None
    assert refused.code is ErrorCode.INVALID_MESSAGE
    assert the_task(desk).backup_id == desk.shelf.twin


def test_another_account_s_backup_is_not_found_and_nobody_is_told(desk: Desk) -> None:
    refused = take(desk, command("backup.delete", {"backup_id": desk.shelf.twin, "account_id": "other"}))
    assert refused is not None
    assert refused.code is ErrorCode.BACKUP_NOT_FOUND
    assert desk.outbox == []


def test_a_backup_that_is_being_built_on_is_refused_at_once_and_the_one_being_made_later(desk: Desk) -> None:
    made = create(desk.agent, parent_id=desk.shelf.twin)
    take(desk, made)
    take(desk, delete(desk.shelf.twin))
    assert desk.journal.tasks() == []
    assert desk.heard.events[-1].error is not None
    assert (desk.heard.events[-1].error.code, desk.heard.events[-1].error.status) == ("backup_in_use", 422)
    take(desk, delete(made["data"]["backup"]["id"]))
    assert the_task(desk).beside == (made["data"]["backup"]["id"],)


def test_a_task_of_a_dead_process_is_gone_on_with(desk: Desk) -> None:
    take(desk, delete(desk.shelf.twin))
    with desk.journal.transaction() as transaction:
        transaction.tasks.begin(the_task(desk).id, DEAD)
    recover(desk.services, Cancellation())
    assert (the_task(desk).owner, the_task(desk).attempts) == (None, 1)
    carry_out(the_task(desk), desk.services, Cancellation())
    assert desk.heard.kinds == [("backup.deleted", desk.shelf.twin)]


def test_one_that_kills_the_agent_again_and_again_is_given_up(desk: Desk) -> None:
    take(desk, delete(desk.shelf.twin))
    for _ in range(desk.services.retries.at_most):
        with desk.journal.transaction() as transaction:
            transaction.tasks.begin(the_task(desk).id, DEAD)
        recover(desk.services, Cancellation())
    assert fails(desk) is ErrorCode.INTERRUPTED
    assert desk.heard.kinds == [("backup.delete_failed", desk.shelf.twin)]
    assert desk.journal.tasks() == []


def test_what_was_begun_by_hand_is_gone_on_with_only_from_what_was_agreed_to(desk: Desk) -> None:
    with desk.journal.transaction() as transaction:
        for name in ("by hand, noted", "by hand, not noted"):
            transaction.tasks.add(
                NewTask(name, "backup.delete", desk.shelf.twin, "{}", Origin.RUN_ONCE, datetime.now(UTC), owner=DEAD)
            )
        transaction.tasks.note("by hand, noted", "a plan")
    recover(desk.services, Cancellation())
    assert the_task(desk).id == "by hand, noted"


def test_a_task_waits_while_somebody_has_the_instance_or_the_agent_stops(desk: Desk) -> None:
    take(desk, delete(desk.shelf.base))
    lock = InstanceLock(desk.agent.runtime_dir, desk.agent.instance_id)
    with lock.acquire(LockHolder.here("backup", None, datetime.now(UTC))), pytest.raises(BusyError):
        carry_out(the_task(desk), desk.services, Cancellation())
    stopped = Cancellation()
    stopped.cancel(InterruptedByOperator(ErrorCode.INTERRUPTED, "the agent was stopped", "Wait."))
    with pytest.raises(InterruptedByOperator):
        carry_out(the_task(desk), desk.services, stopped)
    assert (the_task(desk).owner, the_task(desk).attempts) == (None, 0)
    assert desk.outbox == []


def test_one_that_came_too_late_is_not_carried_out(desk: Desk) -> None:
    take(desk, delete(desk.shelf.twin, expires=f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"))
    assert fails(desk) is ErrorCode.COMMAND_EXPIRED
    assert desk.shelf.twin in stored(desk.agent)


def test_a_kind_that_this_version_does_not_know_stops_nothing(desk: Desk) -> None:
    with desk.journal.transaction() as transaction:
        transaction.tasks.add(NewTask("x", "backup.paint", None, "{}", Origin.QUEUE, datetime.now(UTC)))
    carry_out(the_task(desk), desk.services, Cancellation())
    assert desk.journal.tasks() == []


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda desk: desk.agent.directory(desk.shelf.base).rename(desk.agent.base / "away"), "backup_not_found"),
        (lambda desk: (desk.agent.directory(desk.shelf.grandchild) / "pin").write_text("{}"), "backup_pinned"),
    ],
)
def test_what_can_not_be_done_leaves_all_as_it_was(desk: Desk, spoil: Callable[[Desk], object], code: str) -> None:
    spoil(desk)
    before = stored(desk.agent)
    take(desk, delete(desk.shelf.base))
    assert fails(desk).value == code
    assert stored(desk.agent) == before
    assert desk.outbox == [("backup.delete_failed", desk.shelf.base)]

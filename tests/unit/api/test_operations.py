"""Operations on instances in the catalogue, in SQLite: asked, answered, given up and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_agent.api.catalogue import migrate, operating, outbox, reading
from backup_agent.api.catalogue.creating import Order, Rules, create_backup
from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.operating import Asked
from backup_agent.api.catalogue.operation import Operation, Standing
from backup_agent.api.catalogue.quota import Quota
from backup_agent.api.catalogue.registering import Registration, add_instance
from backup_agent.api.catalogue.statuses import statuses
from backup_agent.api.faults import Fault
from backup_agent.api.relay.answering import take_answers
from backup_agent.api.relay.hearing import AgentTold, AnswerTold, Heard
from backup_agent.api.relay.sweeping_operations import OperationPatience, forget_operations, give_up
from backup_agent.api.relay.taking import take
from backup_agent.domain.instance_command import InstanceCommandType

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
OTHER = "61f12fef-edb1-4561-8122-e7c00ef26a82"
NOW = datetime(2026, 11, 25, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PATIENCE = OperationPatience(answer_within=10 * MINUTE, remember=timedelta(days=1))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'catalogue.db'}")) as database:
        migrate.upgrade(database)
        for instance_id in (INSTANCE, OTHER):
            add_instance(database, Registration(instance_id, "1234", "shop", "mariadb", None), NOW)
        yield database


def ask(
    database: Database, command: InstanceCommandType = InstanceCommandType.RESTART, instance_id: str = INSTANCE
) -> str:
    return operating.ask(database, Asked(instance_id, command, {}), "1234", MINUTE, NOW)


def back_up(database: Database, instance_id: str = INSTANCE) -> None:
    order = Order("snapshot", None, instance_id, None, incremental=False)
    create_backup(database, order, "1234", Rules(Quota(10), MINUTE), NOW)


def found(database: Database, operation_id: str) -> Operation:
    operation = operating.find(database, operation_id)
    assert operation is not None
    return operation


def tell(database: Database, operation_id: str, **changes: Any) -> tuple[int, int, int]:
    """How many answers were applied, stale and refused."""
    known = {"command": "instance.restart", "instance_id": INSTANCE, "status": "DONE", "finished": NOW.isoformat()}
    fields: dict[str, Any] = {**known, **changes}
    answer = AnswerTold(request_id=operation_id, **fields)
    outcome = take_answers(database, [answer] * 2, NOW + MINUTE)
    return outcome.applied, outcome.stale, outcome.refused


def status(database: Database, instance_id: str = INSTANCE) -> str:
    with database.reading() as connection:
        instance = reading.find_instance(connection, instance_id, "1234")
        assert instance is not None
        return statuses(connection, [instance])[instance_id]


def test_an_operation_and_its_command_come_to_be_together(database: Database) -> None:
    operation_id = ask(database)
    (waiting,) = outbox.pending(database, 10)
    assert (waiting.message_id, waiting.instance_id, waiting.type) == (operation_id, INSTANCE, "instance.restart")
    assert found(database, operation_id).status is Standing.ASKED


def test_an_answer_is_taken_once(database: Database) -> None:
    operation_id = ask(database)
    assert tell(database, operation_id) == (1, 1, 0)
    assert (found(database, operation_id).status, found(database, operation_id).finished) == (
        Standing.DONE,
        NOW + MINUTE,
    )
    assert tell(database, operation_id, status="FAILED") == (0, 2, 0)
    assert found(database, operation_id).status is Standing.DONE


def test_an_answer_of_somebody_else_is_none(database: Database) -> None:
    operation_id = ask(database)
    assert tell(database, operation_id, instance_id=OTHER) == (0, 0, 2)
    assert tell(database, operation_id, command="instance.delete") == (0, 0, 2)
    assert tell(database, "of nobody") == (0, 2, 0)
    assert found(database, operation_id).status is Standing.ASKED


def test_what_is_under_way_is_the_instances_status(database: Database) -> None:
    assert status(database) == "ACTIVE"
    ask(database, InstanceCommandType.CREATE_DATABASES)
    assert status(database) == "ACTIVE"
    ask(database)
    assert status(database) == "REBOOT"
    back_up(database)
    assert status(database) == "BACKUP"
    assert status(database, OTHER) == "ACTIVE"
    with pytest.raises(Fault, match="instance status was BACKUP"):
        ask(database, InstanceCommandType.DELETE)
    deletion = ask(database, InstanceCommandType.DELETE, OTHER)
    assert status(database, OTHER) == "SHUTDOWN"
    with pytest.raises(Fault, match="instance status was SHUTDOWN"):
        ask(database, instance_id=OTHER)
    tell(database, deletion, command="instance.delete", instance_id=OTHER, status="FAILED")
    assert status(database, OTHER) == "ACTIVE"


def beat(database: Database, moment: datetime, *, running: bool | None) -> None:
    told = AgentTold(instance_id=INSTANCE, server_running=running)
    take(database, [Heard("agent.heartbeat", moment, told)], NOW)


def test_a_stopped_instance_is_down_until_its_agent_says_otherwise(database: Database) -> None:
    def stopped() -> None:
        tell(database, ask(database, InstanceCommandType.STOP), command="instance.stop")

    stop = ask(database, InstanceCommandType.STOP)
    tell(database, stop, command="instance.stop", status="FAILED")
    assert status(database) == "ACTIVE", "it may run"
    stopped()
    assert (status(database), status(database, OTHER)) == ("SHUTDOWN", "ACTIVE")
    for moment, running in ((NOW, True), (NOW + MINUTE, False), (NOW + MINUTE, None)):
        beat(database, moment, running=running)  # seen before it was down; not seen; not looked at
        assert status(database) == "SHUTDOWN"
    beat(database, NOW + MINUTE, running=True)
    assert status(database) == "ACTIVE"
    beat(database, NOW + MINUTE, running=False)
    assert status(database) == "ACTIVE", "nobody has asked for that"
    stopped()
    restart = ask(database)
    assert status(database) == "REBOOT"
    tell(database, restart, status="FAILED")
    assert status(database) == "SHUTDOWN"
    restart = ask(database)
    tell(database, restart)
    assert status(database) == "ACTIVE"
    stopped()
    back_up(database)
    assert status(database) == "BACKUP", "the agent knows better whether that can be done"


def test_what_is_being_deleted_is_not_backed_up_nor_what_was(database: Database) -> None:
    deletion = ask(database, InstanceCommandType.DELETE)
    with pytest.raises(Fault, match="instance status was SHUTDOWN") as refused:
        back_up(database)
    assert refused.value.status == 422
    tell(database, deletion, command="instance.delete", status="FAILED")
    deletion = ask(database, InstanceCommandType.DELETE)
    tell(database, deletion, command="instance.delete")
    with pytest.raises(Fault) as refused:
        back_up(database)
    assert refused.value.status == 404
    ask(database, InstanceCommandType.DELETE, OTHER)
    assert give_up(database, PATIENCE, NOW + 11 * MINUTE) == 1
    back_up(database, OTHER)
    assert [one.type for one in outbox.pending(database, 10)] == ["instance.delete", "instance.delete", "backup.create"]


def test_what_nobody_answers_is_given_up_and_not_sent_any_more_until_the_agent_is_back(database: Database) -> None:
    operation_id = ask(database)
    assert give_up(database, PATIENCE, NOW + 10 * MINUTE) == 0
    assert give_up(database, PATIENCE, NOW + 11 * MINUTE) == 1
    lost = found(database, operation_id)
    assert (lost.status, lost.error_code) == (Standing.FAILED, "agent_lost")
    assert outbox.pending(database, 10) == []
    assert give_up(database, PATIENCE, NOW + 12 * MINUTE) == 0
    assert tell(database, operation_id) == (1, 1, 0)
    assert (found(database, operation_id).status, found(database, operation_id).error_code) == (Standing.DONE, None)


def test_what_has_ended_is_forgotten_lists_first(database: Database) -> None:
    restart, listing, open_one = ask(database), ask(database, InstanceCommandType.LIST_USERS), ask(database)
    tell(database, restart)
    tell(database, listing, command="instance.list_users")

    def known(after: timedelta) -> list[bool]:
        forget_operations(database, PATIENCE, NOW + after)
        return [operating.find(database, one) is not None for one in (restart, listing, open_one)]

    assert known(10 * MINUTE) == [True, True, True]
    assert known(11 * MINUTE) == [True, False, True]
    assert known(timedelta(days=2)) == [False, False, True]

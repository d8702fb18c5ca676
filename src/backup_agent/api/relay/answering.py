"""Takes agents' answers to operations on their instances over: into the catalogue in one transaction.

An answer counts once, and only from the agent of the instance that was asked. One that was given up because nothing was
heard takes the agent's word all the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, select, update

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.operation import Operation, Standing, operation_of
from backup_agent.api.catalogue.tables import instances, operations
from backup_agent.api.relay.hearing import AnswerTold
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.instance_command import InstanceCommandType
from backup_agent.errors import ErrorCode

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Answered:
    """How many came to what."""

    applied: int = 0
    stale: int = 0
    """Heard before, of nobody's question, or forgotten."""
    refused: int = 0
    """Of another instance or another command."""


def take_answers(database: Database, answers: Sequence[AnswerTold], now: datetime) -> Answered:
    """Taken twice, they change nothing the second time. Raises CatalogueError."""
    return database.write(lambda connection: _take(connection, answers, now)) if answers else Answered()


def _take(connection: Connection, answers: Sequence[AnswerTold], now: datetime) -> Answered:
    outcome = Answered()
    known = _read(connection, {answer.request_id for answer in answers if is_uuid(answer.request_id)})
    for answer in answers:
        asked = known.get(answer.request_id)
        if asked is None or not _is_open(asked):
            outcome.stale += 1
        elif (asked.instance_id, asked.command) != (answer.instance_id, answer.command):
            outcome.refused += 1
            log.warning(
                "an answer was refused: another instance or command was asked",
                request_id=answer.request_id,
                instance_id=answer.instance_id,
                command=answer.command,
            )
        else:
            del known[answer.request_id]  # what else is said of it is stale
            _write(connection, answer, now)
            outcome.applied += 1
    return outcome


def _read(connection: Connection, ids: set[str]) -> dict[str, Operation]:
    if not ids:
        return {}
    query = select(operations).where(operations.c.id.in_(ids)).order_by(operations.c.id).with_for_update()
    return {row.id: operation_of(row) for row in connection.execute(query)}


def _is_open(operation: Operation) -> bool:
    return operation.status is Standing.ASKED or operation.error_code == ErrorCode.AGENT_LOST


def _write(connection: Connection, answer: AnswerTold, now: datetime) -> None:
    error = answer.error
    values: dict[str, Any] = {
        "status": Standing(answer.status),
        "finished": now,
        "result": None if answer.result is None else json.dumps(answer.result),
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "error_hint": error.hint if error else None,
        "error_status": error.status if error else None,
        "backup_id": answer.backup_id,
    }
    connection.execute(update(operations).where(operations.c.id == answer.request_id).values(values))
    if values["status"] is Standing.DONE:
        _of_server(connection, answer, now)


def _of_server(connection: Connection, answer: AnswerTold, now: datetime) -> None:
    """What it means for the instance that it was done."""
    instance = update(instances).where(instances.c.id == answer.instance_id)
    match answer.command:
        case InstanceCommandType.STOP:
            connection.execute(instance.values(stopped=answer.finished))
        case InstanceCommandType.RESTART:
            connection.execute(instance.values(stopped=None))
        case InstanceCommandType.DELETE:
            connection.execute(instance.where(instances.c.removed.is_(None)).values(removed=now))
            log.info("an instance was deleted", instance_id=answer.instance_id)
        case _:
            pass

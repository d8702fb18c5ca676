"""What is read of a journal for those who only look: one statement, or one snapshot. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from backup_agent.domain.event import EventType
from backup_agent.domain.state import State
from backup_agent.domain.verification import Verdict
from backup_agent.journal import rows, schema
from backup_agent.journal.connection import Connection
from backup_agent.journal.interface import Job, Outgoing, Snapshot
from backup_agent.journal.rows import Row
from backup_agent.journal.sqlite_tasks import open_tasks
from backup_agent.journal.transaction import active

LAST = "SELECT number FROM jobs WHERE state = ? AND ended IS NOT NULL ORDER BY ended DESC, number DESC LIMIT 1"
"""The job that came to a state last."""


def newest(connection: Connection, limit: int) -> Sequence[Job]:
    return connection.read(rows.job, f"SELECT {rows.JOB} FROM jobs ORDER BY number DESC LIMIT ?", (limit,))  # noqa: S608


def last(connection: Connection, state: State) -> Job | None:
    found = connection.read(rows.job, f"SELECT {rows.JOB} FROM jobs WHERE number = ({LAST})", (state.value,))  # noqa: S608
    return found[0] if found else None


def completed(connection: Connection) -> Sequence[bytes]:
    return connection.read(
        _body, "SELECT last_event FROM jobs WHERE state = ? AND last_event IS NOT NULL", (State.COMPLETED.value,)
    )


def pending(connection: Connection, limit: int) -> Sequence[Outgoing]:
    statement = f"SELECT {rows.OUTGOING} FROM outbox ORDER BY id LIMIT ?"  # noqa: S608
    return connection.read(rows.outgoing, statement, (limit,))


def depth(connection: Connection) -> int:
    return int(connection.rows("SELECT count(*) FROM outbox")[0][0])


def snapshot(connection: Connection, version: int = schema.VERSION) -> Snapshot:
    """`version` is the journal's: older ones know less."""
    connection.rows("BEGIN")
    try:
        oldest = connection.read(_moment, "SELECT recorded FROM outbox ORDER BY id LIMIT 1")
        outcomes = connection.read(_outcome, "SELECT type, count FROM outcomes ORDER BY type")
        return Snapshot(
            active=active(connection),
            tasks=open_tasks(connection) if version >= schema.WITH_TASKS else (),
            last_completed=last(connection, State.COMPLETED),
            last_failed=last(connection, State.FAILED),
            outbox_depth=depth(connection),
            outbox_oldest=oldest[0] if oldest else None,
            outcomes=dict(outcomes),
            since=connection.read(_moment, "SELECT created FROM about")[0],
            verdicts=_verdicts(connection) if version >= schema.WITH_VERDICTS else (),
        )
    finally:
        connection.rows("ROLLBACK")


def _verdicts(connection: Connection) -> Sequence[Verdict]:
    return connection.read(rows.verdict, f"SELECT {rows.VERDICT} FROM verdicts ORDER BY level, result")  # noqa: S608


def _body(row: Row) -> bytes:
    return bytes(row[0])


def _moment(row: Row) -> datetime:
    return rows.moment(row[0])


def _outcome(row: Row) -> tuple[EventType, int]:
    return EventType(row[0]), int(row[1])

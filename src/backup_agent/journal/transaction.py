"""What is read and written of jobs within one transaction of SQLite. Begin and end are sqlite.py's business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import TERMINAL
from backup_agent.journal import rows
from backup_agent.journal.connection import Connection
from backup_agent.journal.interface import EventRecord, Job, NewJob
from backup_agent.journal.sqlite_tasks import SqliteTasks, SqliteTold

_PASSING = (EventType.PROGRESS, EventType.WARNING)
"""What a job is not remembered by."""


class SqliteTransaction:
    """Implements Transaction. `told` is whether the outbox got something."""

    def __init__(self, connection: Connection, now: Callable[[], datetime], *, outbox: bool) -> None:
        self._connection = connection
        self._now = now
        self._outbox = outbox
        self._over = False
        self.told = False
        self.tasks = SqliteTasks(self._live, now, self._put)
        self.backups = SqliteTold(self._live, now, self._put)

    def end(self) -> None:
        """From now on it is a fault to use it: the connection is another's."""
        self._over = True

    def job(self, backup_id: str) -> Job | None:
        return find(self._live(), backup_id)

    def active(self) -> Sequence[Job]:
        return active(self._live())

    def add(self, job: NewJob) -> None:
        if self.job(job.command.backup.id) is not None:
            msg = f"the journal has a job {job.command.backup.id} already"
            raise ValueError(msg)
        columns = rows.of_new(job, rows.text(self._now()))
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        self._connection.rows(f"INSERT INTO jobs ({names}) VALUES ({values})", columns)  # noqa: S608 - our own names

    def begin(self, backup_id: str, owner: ProcessId) -> None:
        self._change(
            backup_id,
            "owner_pid = :pid, owner_started = :started, engine_pid = NULL, engine_started = NULL,"
            " attempts = attempts + 1, begun = :now, progress = NULL",
            pid=owner.pid,
            started=owner.started,
        )

    def engine_started(self, backup_id: str, engine: ProcessId) -> None:
        self._change(backup_id, "engine_pid = :pid, engine_started = :started", pid=engine.pid, started=engine.started)

    def release(self, backup_id: str) -> None:
        self._change(
            backup_id,
            "owner_pid = NULL, owner_started = NULL, engine_pid = NULL, engine_started = NULL, progress = NULL",
        )

    def left_behind(self, backup_id: str, *, objects: bool) -> None:
        self._change(backup_id, "unclean = :unclean", unclean=int(objects))

    def cancel(self, backup_id: str) -> None:
        self._change(backup_id, "cancelled = 1")

    def record(self, event: EventRecord) -> None:
        job = self.job(event.backup_id)
        if job is None:
            raise _unknown(event.backup_id)
        if event.sequence <= job.sequence:
            msg = f"event {event.sequence} of backup {job.id} comes after event {job.sequence}"
            raise ValueError(msg)
        self._change(
            event.backup_id,
            "state = :state, phase = coalesce(:phase, phase), sequence = :sequence",
            state=event.state.value,
            phase=event.phase.value if event.phase else None,
            sequence=event.sequence,
        )
        self._remember(event)
        if event.state in TERMINAL and job.state not in TERMINAL:
            self._ended(event)
        self._put(event.backup_id, event.type, event.routing_key, event.body)

    def replay(self, backup_id: str) -> None:
        found = self._live().rows(
            "SELECT last_type, last_routing_key, last_event FROM jobs WHERE id = ? AND last_event IS NOT NULL",
            (backup_id,),
        )
        for kind, routing_key, body in found:
            self._put(backup_id, EventType(kind), routing_key, body)

    def _remember(self, event: EventRecord) -> None:
        if event.type is EventType.PROGRESS:
            self._change(event.backup_id, "progress = :body", body=event.body)
        if event.type not in _PASSING:
            self._change(
                event.backup_id,
                "last_type = :type, last_routing_key = :routing_key, last_event = :body",
                type=event.type.value,
                routing_key=event.routing_key,
                body=event.body,
            )

    def _ended(self, event: EventRecord) -> None:
        self._change(
            event.backup_id,
            "owner_pid = NULL, owner_started = NULL, engine_pid = NULL, engine_started = NULL, progress = NULL,"
            " ended = :now",
        )
        self._connection.rows(
            "INSERT INTO outcomes (type, count) VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET count = count + 1",
            (event.type.value,),
        )

    def _put(self, backup_id: str, kind: EventType, routing_key: str, body: bytes) -> None:
        if not self._outbox:
            return
        if kind is EventType.PROGRESS:
            self._connection.rows("DELETE FROM outbox WHERE backup_id = ? AND type = ?", (backup_id, kind.value))
        self._connection.rows(
            "INSERT INTO outbox (backup_id, type, routing_key, body, recorded) VALUES (?, ?, ?, ?, ?)",
            (backup_id, kind.value, routing_key, body, rows.text(self._now())),
        )
        self.told = True

    def _change(self, backup_id: str, what: str, **parameters: object) -> None:
        """`what` is ours alone. An ended job keeps the time of its end."""
        changed = self._live().rows(
            f"UPDATE jobs SET {what}, updated = CASE WHEN ended IS NULL THEN :now ELSE updated END"  # noqa: S608
            " WHERE id = :id RETURNING number",
            {**parameters, "id": backup_id, "now": rows.text(self._now())},
        )
        if not changed:
            raise _unknown(backup_id)

    def _live(self) -> Connection:
        if self._over:
            msg = "this transaction has ended"
            raise RuntimeError(msg)
        return self._connection


def find(connection: Connection, backup_id: str) -> Job | None:
    found = connection.read(rows.job, f"SELECT {rows.JOB} FROM jobs WHERE id = ?", (backup_id,))  # noqa: S608
    return found[0] if found else None


def active(connection: Connection) -> Sequence[Job]:
    return connection.read(rows.job, f"SELECT {rows.JOB} FROM jobs WHERE ended IS NULL ORDER BY number")  # noqa: S608


def unclean(connection: Connection) -> Sequence[Job]:
    return connection.read(
        rows.job,
        f"SELECT {rows.JOB} FROM jobs WHERE unclean AND ended IS NOT NULL ORDER BY number",  # noqa: S608
    )


def _unknown(backup_id: str) -> ValueError:
    return ValueError(f"the journal has no job {backup_id}")

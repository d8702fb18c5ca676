"""What is read and written of tasks, and told of backups that are not being made, within one transaction of SQLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from backup_agent.domain.event import EventType
from backup_agent.domain.process import ProcessId
from backup_agent.domain.state import State
from backup_agent.domain.verification import Verdict
from backup_agent.journal import rows
from backup_agent.journal.connection import Connection
from backup_agent.journal.interface import EventRecord
from backup_agent.journal.tasks import AnswerRecord, LastTold, NewTask, Task, TaskState

Put = Callable[[str, EventType, str, bytes], None]
"""Into the outbox: the backup (or the request, of an answer), the type, the routing key, the body."""
_NOBODY = "owner_pid = NULL, owner_started = NULL"


class SqliteTasks:
    """Implements Tasks."""

    def __init__(self, connection: Callable[[], Connection], now: Callable[[], datetime], put: Put) -> None:
        """`connection` raises when the transaction has ended."""
        self._connection = connection
        self._now = now
        self._put = put
        self._told = SqliteTold(connection, now, put)

    def find(self, task_id: str) -> Task | None:
        found = self._connection().read(rows.task, f"SELECT {rows.TASK} FROM tasks WHERE id = ?", (task_id,))  # noqa: S608
        return found[0] if found else None

    def open(self) -> Sequence[Task]:
        return open_tasks(self._connection())

    def add(self, task: NewTask) -> None:
        if self.find(task.id) is not None:
            msg = f"the journal has a task {task.id} already"
            raise ValueError(msg)
        columns = rows.of_new_task(task, rows.text(self._now()))
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        self._connection().rows(f"INSERT INTO tasks ({names}) VALUES ({values})", columns)  # noqa: S608 - our own names

    def begin(self, task_id: str, owner: ProcessId) -> None:
        self._change(
            task_id,
            "owner_pid = :pid, owner_started = :started, state = :state, attempts = attempts + 1",
            pid=owner.pid,
            started=owner.started,
            state=TaskState.RUNNING.value,
        )

    def release(self, task_id: str, *, counts: bool, beside: str | None = None) -> None:
        self._change(
            task_id,
            f"{_NOBODY}, state = :state, attempts = attempts - :uncounted, beside = beside || :beside",
            state=TaskState.WAITING.value,
            uncounted=int(not counts),
            beside="" if beside is None else f" {beside}",
        )

    def note(self, task_id: str, notes: str) -> None:
        self._change(task_id, "notes = :notes", notes=notes)

    def end(self, task_id: str, event: EventRecord | AnswerRecord | None, *, succeeded: bool) -> None:
        state = TaskState.SUCCEEDED if succeeded else TaskState.FAILED
        self._change(task_id, f"{_NOBODY}, state = :state, notes = NULL, ended = :now", state=state.value)
        if event is None:
            return
        about = event.request_id if isinstance(event, AnswerRecord) else event.backup_id
        self._change(
            task_id,
            "last_backup_id = :about, last_type = :type, last_routing_key = :routing_key, last_event = :body",
            about=about,
            type=event.type.value,
            routing_key=event.routing_key,
            body=event.body,
        )
        if isinstance(event, AnswerRecord):
            self._put(about, event.type, event.routing_key, event.body)
        else:
            self._told.tell(event)

    def replay(self, task_id: str) -> None:
        found = self._connection().rows(
            "SELECT last_backup_id, last_type, last_routing_key, last_event FROM tasks"
            " WHERE id = ? AND last_event IS NOT NULL",
            (task_id,),
        )
        for backup_id, kind, routing_key, body in found:
            self._put(backup_id, EventType(kind), routing_key, body)

    def _change(self, task_id: str, what: str, **parameters: object) -> None:
        """`what` is ours alone."""
        changed = self._connection().rows(
            f"UPDATE tasks SET {what}, updated = :now WHERE id = :id RETURNING number",  # noqa: S608
            {**parameters, "id": task_id, "now": rows.text(self._now())},
        )
        if not changed:
            msg = f"the journal has no task {task_id}"
            raise ValueError(msg)


class SqliteTold:
    """Implements Told."""

    def __init__(self, connection: Callable[[], Connection], now: Callable[[], datetime], put: Put) -> None:
        self._connection = connection
        self._now = now
        self._put = put

    def last(self, backup_id: str) -> LastTold | None:
        found = self._connection().read(
            _last_told,
            "SELECT sequence, state FROM jobs WHERE id = :id UNION ALL SELECT sequence, state FROM told WHERE"
            " backup_id = :id ORDER BY sequence DESC LIMIT 1",
            {"id": backup_id},
        )
        return found[0] if found else None

    def tell(self, event: EventRecord) -> None:
        last = self.last(event.backup_id)
        if last is not None and event.sequence <= last.sequence:
            msg = f"event {event.sequence} of backup {event.backup_id} comes after event {last.sequence}"
            raise ValueError(msg)
        if not self._note_in_job(event):
            self._connection().rows(
                "INSERT INTO told (backup_id, sequence, state, updated) VALUES (:id, :sequence, :state, :now) ON"
                " CONFLICT (backup_id) DO UPDATE SET sequence = :sequence, state = :state, updated = :now",
                {
                    "id": event.backup_id,
                    "sequence": event.sequence,
                    "state": event.state.value,
                    "now": rows.text(self._now()),
                },
            )
        if event.verdict is not None:
            self._remember(event.verdict)
        self._put(event.backup_id, event.type, event.routing_key, event.body)

    def _remember(self, verdict: Verdict) -> None:
        """Unless a later one of that level and result was told of before it."""
        self._connection().rows(
            f"INSERT INTO verdicts ({rows.VERDICT}) VALUES (:level, :result, :backup_id, :time, :seconds_to_serve) ON"  # noqa: S608 - ours
            " CONFLICT (level, result) DO UPDATE SET backup_id = :backup_id, time = :time,"
            " seconds_to_serve = :seconds_to_serve WHERE time <= :time",
            rows.of_verdict(verdict),
        )

    def _note_in_job(self, event: EventRecord) -> bool:
        """Whether there is a job of the backup."""
        found = self._connection().rows("SELECT state, ended FROM jobs WHERE id = ?", (event.backup_id,))
        if not found:
            return False
        state, ended = found[0]
        if ended is None:
            msg = f"backup {event.backup_id} is still being made"
            raise ValueError(msg)
        last = ", last_type = :type, last_routing_key = :routing_key, last_event = :body"
        self._connection().rows(
            f"UPDATE jobs SET state = :state, sequence = :sequence{last if state != event.state.value else ''}"  # noqa: S608 - ours
            " WHERE id = :id",
            {
                "id": event.backup_id,
                "state": event.state.value,
                "sequence": event.sequence,
                "type": event.type.value,
                "routing_key": event.routing_key,
                "body": event.body,
            },
        )
        return True


def open_tasks(connection: Connection) -> Sequence[Task]:
    return connection.read(rows.task, f"SELECT {rows.TASK} FROM tasks WHERE ended IS NULL ORDER BY number")  # noqa: S608


def _last_told(row: rows.Row) -> LastTold:
    return LastTold(int(row[0]), State(row[1]))

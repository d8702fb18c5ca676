"""`backup-agent status`: what the agent is doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from backup_agent.app.status import status_sources
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json, print_table
from backup_agent.cli.session import session
from backup_agent.domain.verification import Verdict
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.services import Holder
from backup_agent.operations.status import Commanded, Ended, Running, Status, Waiting
from backup_agent.operations.status import status as look


def status(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show what the agent is doing.

    The running backup, waiting ones, how the last ones and the last verification ended, and how many events the
    platform has not been told yet.

    Reads the journal and the lock alone, and changes nothing: it answers also when no agent runs, or the database, the
    broker or the store is away. Needs to be run as root or as the user of the agent's service.

    \b
    Examples:
      backup-agent status
      backup-agent status --json | jq -r '.status.running[0].percent'
    """
    with session(config, json=json) as state:
        found = look(status_sources(state.config), SystemClock().now())
        if json:
            print_json({"status": _as_json(found)})
        else:
            _print(found)


def _print(found: Status) -> None:
    if not found.used:
        typer.echo(f"The agent was never used on instance {found.instance_id}: there is no journal yet.")
    print_fields(
        {
            "instance": found.instance_id,
            "lock": _holder_text(found.holder),
            "running": _running_text(found),
            "waiting": len(found.waiting),
            "events to tell": _outbox_text(found),
            "last completed": _ended_text(found.last_completed),
            "last failed": _ended_text(found.last_failed),
            **_error_fields(found.last_failed),
            "last verified": _verdict_text(found.verdicts[0]) if found.verdicts else None,
        }
    )
    if found.running:
        print_table(
            ("RUNNING", "TYPE", "PHASE", "PERCENT", "SINCE", "ATTEMPTS", "PROCESS", "NAME"),
            [_running_row(one) for one in found.running],
        )
    if found.waiting:
        print_table(
            ("WAITING", "TYPE", "RECEIVED", "EXPIRES", "NAME"),
            [
                (one.id, one.type.value, _time(one.received), _time(one.expires) if one.expires else "-", one.name)
                for one in found.waiting
            ],
        )
    if found.tasks:
        print_table(
            ("COMMAND", "BACKUP", "RECEIVED", "ATTEMPTS", "PROCESS"), [_command_row(one) for one in found.tasks]
        )


def _command_row(one: Commanded) -> tuple[str, ...]:
    process = "waits" if one.process is None else f"{one.process.pid}{'' if one.lives else ' (gone)'}"
    return one.kind, one.backup_id or "-", _time(one.received), str(one.attempts), process


def _running_text(found: Status) -> str:
    dead = sum(not one.lives for one in found.running)
    if dead:
        return f"{len(found.running)}, {dead} of them interrupted: the next start of the agent takes care of it"
    return str(len(found.running))


def _running_row(one: Running) -> tuple[str, ...]:
    return (
        one.id,
        one.type.value,
        ("cancelled, " if one.cancelled else "") + (one.phase.value if one.phase else "-"),
        "-" if one.percent is None else f"{one.percent} %",
        _time(one.since),
        str(one.attempts),
        f"{one.process.pid}{'' if one.lives else ' (gone)'}",
        one.name,
    )


def _holder_text(holder: Holder | None) -> str:
    if holder is None:
        return "free"
    backup = f" of backup {holder.backup_id}" if holder.backup_id else ""
    return f"{holder.command}{backup}, pid {holder.pid}, since {_time(holder.since)}"


def _outbox_text(found: Status) -> str:
    if found.outbox_oldest is None:
        return "0"
    waits = timedelta(seconds=round(found.outbox_oldest.total_seconds()))
    return f"{found.outbox_depth}, the oldest for {waits}"


def _ended_text(ended: Ended | None) -> str | None:
    return None if ended is None else f"{_time(ended.at)} {ended.id} {ended.type.value} {ended.name}"


def _verdict_text(verdict: Verdict) -> str:
    served = f", served after {verdict.seconds_to_serve} s" if verdict.seconds_to_serve is not None else ""
    return f"{_time(verdict.time)} {verdict.backup_id} {verdict.level.value} {verdict.result.value}{served}"


def _error_fields(ended: Ended | None) -> dict[str, Any]:
    if ended is None or ended.error is None:
        return {}
    error = ended.error
    return {"error": f"{error.message} [{error.code}]", "hint": error.hint}


def _as_json(found: Status) -> dict[str, Any]:
    holder = found.holder
    return {
        "instance_id": found.instance_id,
        "used": found.used,
        "lock": None
        if holder is None
        else {
            "pid": holder.pid,
            "command": holder.command,
            "backup_id": holder.backup_id,
            "since": _time(holder.since),
        },
        "running": [_running_json(one) for one in found.running],
        "waiting": [_waiting_json(one) for one in found.waiting],
        "tasks": [_command_json(one) for one in found.tasks],
        "outbox": {
            "depth": found.outbox_depth,
            "oldest_age_s": None if found.outbox_oldest is None else round(found.outbox_oldest.total_seconds(), 3),
        },
        "last_completed": _ended_json(found.last_completed),
        "last_failed": _ended_json(found.last_failed),
        "verifications": [_verdict_json(one) for one in found.verdicts],
    }


def _running_json(one: Running) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type.value,
        "phase": one.phase.value if one.phase else None,
        "percent": one.percent,
        "since": _time(one.since),
        "attempts": one.attempts,
        "pid": one.process.pid,
        "lives": one.lives,
        "cancelled": one.cancelled,
    }


def _waiting_json(one: Waiting) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "type": one.type.value,
        "received": _time(one.received),
        "expires": _time(one.expires) if one.expires else None,
    }


def _command_json(one: Commanded) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "backup_id": one.backup_id,
        "received": _time(one.received),
        "attempts": one.attempts,
        "pid": one.process.pid if one.process else None,
        "lives": one.lives,
    }


def _ended_json(ended: Ended | None) -> dict[str, Any] | None:
    if ended is None:
        return None
    return {
        "id": ended.id,
        "name": ended.name,
        "type": ended.type.value,
        "at": _time(ended.at),
        "error": ended.error.model_dump(exclude_none=True) if ended.error else None,
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "backup_id": verdict.backup_id,
        "level": verdict.level.value,
        "result": verdict.result.value,
        "at": _time(verdict.time),
        "seconds_to_serve": verdict.seconds_to_serve,
    }


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

"""`backup-agent run-once`: takes one backup now."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from backup_agent.app.telling import with_metrics
from backup_agent.app.wiring import for_backups, open_journal, wire
from backup_agent.cli.message import read_message
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json
from backup_agent.cli.progress import ProgressBar
from backup_agent.cli.session import Session, session, tell_peak_memory
from backup_agent.domain.command import BackupRequest, CreateBackup
from backup_agent.domain.validation import explain
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.inbox.wire import Received, parse_command
from backup_agent.journal.interface import Origin
from backup_agent.operations.backup import create_backup
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.job import Asked
from backup_agent.report.interface import Reporter
from backup_agent.report.log import LogReporter


def run_once(
    config: ConfigOption = DEFAULT_CONFIG,
    name: Annotated[
        str | None, typer.Option(help="The backup's name, 1 to 64 characters; a dated one by default.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="More words, up to 512 characters.")] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Copy only what changed since the newest completed backup.")
    ] = False,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="ID", help="Copy only what changed since this backup.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="FILE", help="Carry out a backup.create CloudEvent; - reads standard input."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take a backup now, and print it.

    \b
    Examples:
      backup-agent run-once
      backup-agent run-once --name nightly --incremental
      backup-agent run-once --parent 61f12fef-edb1-4561-8122-e7c00ef26a82 --json
      backup-agent run-once --message create.json
    """
    with session(config, json=json) as state:
        if message is not None:
            if name is not None or description is not None or incremental or parent is not None:
                raise RejectedError(
                    ErrorCode.INVALID_REQUEST,
                    "--message holds the whole request; it can't be combined with other options of the backup",
                    "Leave out --name, --description, --incremental and --parent.",
                )
            received = parse_command(read_message(message, state.cancellation))
        else:
            received = Received(_command(state, name, description, parent, incremental=incremental), None)
        with ExitStack() as stack:
            reporter = stack.enter_context(ProgressBar()) if state.terminal else LogReporter()
            backup = _take(received, state, reporter)
        tell_peak_memory()
        if json:
            print_json({"backup": backup})
        else:
            print_fields(backup)
            if state.terminal:
                typer.echo(f"Restore it with: backup-agent restore {backup['id'][:8]} --target-dir DIR", err=True)


def _take(received: Received, state: Session, reporter: Reporter) -> dict[str, Any]:
    if not isinstance(received.command, CreateBackup):
        raise RejectedError(
            ErrorCode.INVALID_MESSAGE,
            "run-once carries out backup.create alone",
            "Send other commands to the queue of `backup-agent run`; SIGTERM or Ctrl-C cancels run-once.",
        )
    with closing(open_journal(state.config)) as journal:
        services = wire(state.config, with_metrics(reporter, state.config, journal))
        return create_backup(
            received.command,
            Asked(Origin.RUN_ONCE, received.expires),
            for_backups(services, state.config, journal),
            state.cancellation,
            state.hurry,
        )


def _command(
    state: Session, name: str | None, description: str | None, parent: str | None, *, incremental: bool
) -> CreateBackup:
    if incremental and parent is not None:
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            "--incremental and --parent both name a parent",
            "Give --parent for a backup of your choice, --incremental for the newest one.",
        )
    kind = "incremental" if incremental or parent else "full"
    try:
        request = BackupRequest(
            id=str(uuid.uuid4()),
            name=f"{kind} {SystemClock().now():%Y-%m-%d %H:%M:%S}" if name is None else name,
            description=description,
            instance_id=state.config.instance.id,
            account_id=state.config.instance.account_id,
            parent_id=parent,
            incremental=incremental,
        )
    except ValidationError as error:
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            f"the backup can't be asked for like this: {explain(error, 'the options')}",
            "`backup-agent run-once --help` tells what each option takes.",
        ) from error
    return CreateBackup(backup=request)

"""`backup-agent restore`: a backup into an empty directory."""

from __future__ import annotations

import grp
import os
import pwd
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import structlog
import typer

from backup_agent.app.wiring import wire
from backup_agent.cli.options import DEFAULT_CONFIG, BackupArgument, ConfigOption, IdentityOption, JsonOption
from backup_agent.cli.output import print_fields, print_json
from backup_agent.cli.progress import ProgressBar
from backup_agent.cli.session import session, tell_peak_memory
from backup_agent.errors import ErrorCode, TargetError
from backup_agent.operations import restore as operation
from backup_agent.operations.restore import RestoreProgress, RestoreRequest
from backup_agent.report.log import LogReporter
from backup_agent.stream.identity import read_identities

log = structlog.get_logger(__name__)

_LOG_EVERY = 5.0
"""Seconds between two progress lines in the log."""
_NO_ID = (1 << 32) - 1


def restore(
    backup_id: BackupArgument,
    target_dir: Annotated[
        Path, typer.Option("--target-dir", metavar="DIR", help="An empty directory, made when it is absent.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare/--no-prepare", help="Make the files startable, or only extract each link of the chain."
        ),
    ] = True,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="USER[:GROUP]", help="Who the files shall belong to (needs root).")
    ] = None,
    identity: IdentityOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Clear what an interrupted restore has left in the directory, nothing else.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Restore a backup into a directory.

    With the chain it needs, and prepared, so that a server can start on it.

    Every byte is verified before it is used. Prints the binary log position and GTID from which replication can go on.

    \b
    Examples:
      backup-agent restore 61f12fef-edb1-4561-8122-e7c00ef26a82 --target-dir /var/lib/mysql --owner mysql:mysql
      backup-agent restore 61f12fef-edb1-4561-8122-e7c00ef26a82 --target-dir /srv/files --no-prepare
      backup-agent restore latest --target-dir /srv/restored --identity /root/backup-identity.txt
    """
    with session(config, json=json) as state:
        identities = read_identities(identity) if identity else ()
        request = RestoreRequest(
            backup_id, target_dir.absolute(), prepare, force, _owner(owner) if owner else None, identities
        )
        with ExitStack() as stack:
            step = stack.enter_context(ProgressBar()).step if state.terminal else LogSteps("restore").step
            result = operation.restore(request, wire(state.config, LogReporter()), state.cancellation, step)
        tell_peak_memory()
        if prepare and owner is None and os.geteuid() == 0:
            log.warning("the files belong to root; a server that runs as mysql needs: chown -R mysql:mysql, or --owner")
        if json:
            print_json({"restored": result})
        else:
            print_fields(result)


class LogSteps:
    """A line when the step changes, and every few seconds."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._step = ""
        self._last = 0.0

    def step(self, progress: RestoreProgress) -> None:
        now = time.monotonic()
        if progress.step != self._step or now - self._last >= _LOG_EVERY:
            self._step, self._last = progress.step, now
            log.info(
                self._operation, step=progress.step, bytes_done=progress.bytes_done, bytes_total=progress.bytes_total
            )


def _owner(text: str) -> tuple[int, int]:
    """`user`, `user:group` or numbers as ids. Raises TargetError (`owner_unknown`)."""
    user, _, group = text.partition(":")
    try:
        if user.isdecimal():
            user_id = default_group = _number(user)
        else:
            account = pwd.getpwnam(user)
            user_id, default_group = account.pw_uid, account.pw_gid
        if not group:
            return user_id, default_group
        return user_id, _number(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except (KeyError, ValueError) as error:
        raise TargetError(
            ErrorCode.OWNER_UNKNOWN,
            f"there is no user or group as in {text!r} here",
            "Give USER or USER:GROUP of this host.",
        ) from error


def _number(text: str) -> int:
    """The number of a user or group. Raises ValueError for one too large, the largest meaning `leave it` to chown."""
    if len(text) > len(str(_NO_ID)) or int(text) >= _NO_ID:
        msg = "no user or group has this number"
        raise ValueError(msg)
    return int(text)

"""`backup-agent delete`: a backup, and what is built on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from backup_agent.app.wiring import for_backups, open_journal, wire
from backup_agent.cli.asking import agreed, can_answer
from backup_agent.cli.options import DEFAULT_CONFIG, BackupArgument, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json, print_table, size_text
from backup_agent.cli.progress import ProgressBar
from backup_agent.cli.session import Session, session
from backup_agent.domain.deletion import Plan
from backup_agent.errors import ErrorCode, InterruptedByOperator, RejectedError
from backup_agent.operations.catalogue import LATEST
from backup_agent.operations.delete_by_hand import Deletion, Foreseen, delete_by_hand, dependants, foresee
from backup_agent.operations.restore import RestoreProgress
from backup_agent.report.log import LogReporter


def delete(
    backup_id: BackupArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Delete the backups that are built on it, too, without a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a backup, and what is left of one that failed.

    The backups that are built on it can't be restored without it, and go first. Nothing is deleted while one of them is
    being taken, restored or verified, or is pinned. Interrupted, it is finished by the same command.

    On a terminal it shows what would go, and asks. Elsewhere it does not ask, but refuses what needs an answer: backups
    that are built on this one, and `latest`, which may be another one by then.

    \b
    Examples:
      backup-agent delete 61f12fef-edb1-4561-8122-e7c00ef26a82
      backup-agent delete 61f12fef-edb1-4561-8122-e7c00ef26a82 --cascade --json
    """
    with session(config, json=json) as state, closing(open_journal(state.config)) as journal:
        services = for_backups(wire(state.config, LogReporter()), state.config, journal)
        foreseen = foresee(backup_id, services, state.cancellation)
        if not cascade and not yes:
            _ask(backup_id, foreseen, state)
        with progress(state) as step:
            done = delete_by_hand(foreseen, services, state.cancellation, step)
        if json:
            print_json({"deleted": deleted_as_json(done)})
        else:
            print_deleted(done)


@contextmanager
def progress(state: Session) -> Iterator[Callable[[RestoreProgress], None]]:
    """A bar for a person; each backup that is gone is in the log anyway."""
    if not state.terminal:
        yield lambda _: None
        return
    with ProgressBar() as bar:
        yield bar.step


def _ask(named: str, foreseen: Foreseen, state: Session) -> None:
    """Raises RejectedError (`backup_has_dependants`, `invalid_request`) when nobody is there to be asked."""
    doomed = [one.id for one in foreseen.plan.backups]
    others = [one for one in doomed if one != foreseen.backup_id]
    if not can_answer(terminal=state.terminal):
        if others:
            raise dependants(foreseen.backup_id, others)
        if named == LATEST:
            raise RejectedError(
                ErrorCode.INVALID_REQUEST,
                f"latest is backup {foreseen.backup_id} now, and nobody is there to say whether that one is meant",
                "Name it by its id, or say --yes.",
            )
    elif doomed:  # none where only the end of a deletion has to be noted
        print_plan(foreseen.plan)
        what = f"these {len(doomed)} backups" if others else "this backup"
        if not agreed(f"Delete {what}?", state.cancellation):
            raise declined()


def declined() -> InterruptedByOperator:
    return InterruptedByOperator(ErrorCode.INTERRUPTED, "nothing was deleted", "Answer y to delete them.")


def print_plan(plan: Plan) -> None:
    print_table(
        ("DELETED", "TYPE", "PARENT", "FINISHED (UTC)", "SIZE", "NAME"),
        [_row(doomed.backup) for doomed in plan.backups],
    )


def _row(backup: dict[str, Any]) -> tuple[str, ...]:
    parent, size = backup.get("parent_id"), backup.get("stored_size")
    return (
        backup["id"],
        backup.get("type") or "-",
        parent[:8] if parent else "-",
        backup.get("updated") or "-",
        "-" if size is None else size_text(size),
        backup.get("name") or "-",
    )


def deleted_as_json(done: Deletion) -> dict[str, Any]:
    return {"backups": done.ids, "objects": done.removed.objects, "bytes": done.removed.bytes}


def print_deleted(done: Deletion) -> None:
    print_fields({"deleted": done.ids, "objects": done.removed.objects, "freed": size_text(done.removed.bytes)})

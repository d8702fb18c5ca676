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
from backup_agent.errors import ErrorCode, InterruptedByOperator
from backup_agent.operations.delete_by_hand import Deletion, Foreseen, delete_by_hand, dependants, foresee
from backup_agent.operations.restore import RestoreProgress
from backup_agent.report.log import LogReporter


def delete(
    backup_id: BackupArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Delete the backups that are built on it, too, without a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a backup, and what is left of one that failed.

    The backups that are built on it can't be restored without it, and go first. Nothing is deleted while one of them is
    being taken, restored or verified, or is pinned. Interrupted, it is finished by the same command.

    \b
    Examples:
      backup-agent delete 61f12fef-edb1-4561-8122-e7c00ef26a82
      backup-agent delete 61f12fef-edb1-4561-8122-e7c00ef26a82 --cascade --json
    """
    with session(config, json=json) as state, closing(open_journal(state.config)) as journal:
        services = for_backups(wire(state.config, LogReporter()), state.config, journal)
        foreseen = foresee(backup_id, services, state.cancellation)
        if not cascade:
            _ask(foreseen, state, yes=yes)
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


def _ask(foreseen: Foreseen, state: Session, *, yes: bool) -> None:
    """Raises RejectedError (`backup_has_dependants`) when nobody is there to be asked."""
    others = [doomed.id for doomed in foreseen.plan.backups if doomed.id != foreseen.backup_id]
    if not others or yes:
        return
    if not can_answer(terminal=state.terminal):
        raise dependants(foreseen.backup_id, others)
    print_plan(foreseen.plan)
    if not agreed(f"Delete these {len(foreseen.plan.backups)} backups?", state.cancellation):
        raise declined()


def declined() -> InterruptedByOperator:
    return InterruptedByOperator(ErrorCode.INTERRUPTED, "nothing was deleted", "Answer y to delete them.")


def print_plan(plan: Plan) -> None:
    print_table(
        ("DELETED", "TYPE", "PARENT", "FINISHED", "SIZE", "NAME"), [_row(doomed.backup) for doomed in plan.backups]
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

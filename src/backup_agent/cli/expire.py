"""`backup-agent expire`: deletes the backups that no rule keeps."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from backup_agent.app.wiring import for_backups, open_journal, wire
from backup_agent.cli.asking import agreed, can_answer
from backup_agent.cli.delete import declined, deleted_as_json, print_deleted, progress
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_json, print_table, size_text
from backup_agent.cli.session import Session, session
from backup_agent.config.retaining import RetentionConfig
from backup_agent.domain.retention import Rules
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.operations.delete_by_hand import Deletion
from backup_agent.operations.expire import Judged, judge
from backup_agent.operations.expire import expire as carry_out
from backup_agent.report.log import LogReporter


def expire(
    config: ConfigOption = DEFAULT_CONFIG,
    keep_fulls: Annotated[
        int | None,
        typer.Option(
            "--keep-fulls", min=1, metavar="N", help="Keep the newest N full backups, and what is built on them."
        ),
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", min=1, metavar="D", help="Keep what finished within D days.")
    ] = None,
    keep_weekly: Annotated[
        int | None, typer.Option("--keep-weekly", min=1, metavar="W", help="Keep the newest backup of each of W weeks.")
    ] = None,
    keep_monthly: Annotated[
        int | None,
        typer.Option("--keep-monthly", min=1, metavar="M", help="Keep the newest backup of each of M months."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go and why, and delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without a question.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete the backups that no rule keeps. Without options, the rules are those of [retention].

    A backup stays if any rule keeps it, if it is pinned, if one that stays is built on it, or if it can't be read. The
    newest restorable backup always stays.

    \b
    Examples:
      backup-agent expire --keep-fulls 2 --dry-run
      backup-agent expire --keep-days 14 --keep-weekly 8 --keep-monthly 12 --yes
    """
    with session(config, json=json) as state, closing(open_journal(state.config)) as journal:
        rules = Rules(keep_fulls=keep_fulls, keep_days=keep_days, keep_weekly=keep_weekly, keep_monthly=keep_monthly)
        rules = rules if rules.any else _configured(state.config.retention)
        services = for_backups(wire(state.config, LogReporter()), state.config, journal)
        judged = judge(rules, services, state.cancellation)
        going = sum(not one.verdict.kept for one in judged)
        if not json:
            _print(judged)
        if dry_run:
            _print_result(judged, None, json=json)
            return
        if going and not yes:
            _ask(going, state)
        with progress(state) as step:
            done = carry_out(judged, rules, services, state.cancellation, step)
        _print_result(judged, done, json=json)


def _configured(section: RetentionConfig) -> Rules:
    return Rules(**section.model_dump())


def _ask(going: int, state: Session) -> None:
    if not can_answer(terminal=state.terminal):
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            f"{going} backups are to be deleted, and nobody is there to be asked",
            "Look at them with --dry-run, then give --yes.",
        )
    if not agreed(f"Delete {going} backups?", state.cancellation):
        raise declined()


def _print(judged: tuple[Judged, ...]) -> None:
    print_table(("BACKUP", "TYPE", "FINISHED (UTC)", "SIZE", "NAME", "", "WHY"), map(_row, judged))


def _row(one: Judged) -> tuple[str, ...]:
    what = "kept" if one.verdict.kept else "EXPIRES"
    if one.manifest is None:
        return one.verdict.id, "-", "-", "-", "-", what, one.verdict.why
    manifest = one.manifest.manifest
    size = size_text(manifest.totals.stored_size)
    return one.verdict.id, manifest.type.value, manifest.finished[:19], size, manifest.name, what, one.verdict.why


def _print_result(judged: tuple[Judged, ...], done: Deletion | None, *, json: bool) -> None:
    """`done` None: nothing was to be deleted."""
    if not json:
        if done is not None:
            print_deleted(done)
        return
    backups: list[dict[str, Any]] = [
        {"id": one.verdict.id, "kept": one.verdict.kept, "why": one.verdict.why} for one in judged
    ]
    print_json({"expired": {"backups": backups, "deleted": None if done is None else deleted_as_json(done)}})

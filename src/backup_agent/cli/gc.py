"""`backup-agent gc`: removes what no backup needs."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Annotated, Any

import structlog
import typer

from backup_agent.app.wiring import for_backups, open_journal, wire
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json, print_table, size_text
from backup_agent.cli.session import session
from backup_agent.operations.garbage import Collection, Garbage, Search, collect
from backup_agent.report.log import LogReporter

log = structlog.get_logger(__name__)


def gc(
    config: ConfigOption = DEFAULT_CONFIG,
    grace: Annotated[
        int, typer.Option("--grace", min=1, metavar="HOURS", help="Only what is older, by the store's clock.")
    ] = 24,
    all_instances: Annotated[
        bool, typer.Option("--all-instances", help="Also what other instances have left in the container.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove chunks that no backup needs.

    Those without a manifest: of backups that failed or were killed, and of deletions that did not end.

    What a living attempt has stored is never touched, nor anything that is not ours; that is told of.

    \b
    Examples:
      backup-agent gc --dry-run
      backup-agent gc --grace 72 --all-instances
    """
    with session(config, json=json) as state, closing(open_journal(state.config)) as journal:
        services = for_backups(wire(state.config, LogReporter()), state.config, journal)
        search = Search(timedelta(hours=grace), everywhere=all_instances, dry=dry_run)
        found = collect(search, services, state.cancellation, _tell)
        for key in found.foreign:
            log.warning("an object that is not ours stays", key=key)
        if json:
            print_json({"garbage": _as_json(found)})
        else:
            _print(found)


def _tell(garbage: Garbage) -> None:
    log.info(
        "objects without a backup",
        prefix=garbage.place.prefix,
        objects=garbage.objects,
        bytes=garbage.bytes,
        kept=garbage.kept,
    )


def _as_json(found: Collection) -> dict[str, Any]:
    return {
        "found": [
            {
                "id": one.place.backup_id,
                "instance_id": one.place.instance_id,
                "objects": one.objects,
                "bytes": one.bytes,
                "youngest": _time(one.youngest),
                "kept": one.kept,
            }
            for one in found.garbage
        ],
        "foreign": found.foreign,
        "removed": {"objects": found.removed.objects, "bytes": found.removed.bytes},
    }


def _print(found: Collection) -> None:
    if found.garbage:
        print_table(
            ("BACKUP", "INSTANCE", "OBJECTS", "SIZE", "YOUNGEST", "KEPT"),
            [
                (
                    one.place.backup_id,
                    one.place.instance_id,
                    str(one.objects),
                    size_text(one.bytes),
                    _time(one.youngest) or "-",
                    one.kept or "-",
                )
                for one in found.garbage
            ],
        )
    print_fields({"removed objects": found.removed.objects, "freed": size_text(found.removed.bytes)})


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"

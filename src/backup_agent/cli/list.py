"""`backup-agent list`: the backups in the store."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any

import typer

from backup_agent.app.wiring import wire
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_json, print_table, size_text, verified_text
from backup_agent.cli.session import say, session, warn
from backup_agent.domain import resource
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.verification import Verification
from backup_agent.errors import ErrorCode, IntegrityError, RejectedError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.pins import pins_of
from backup_agent.operations.trust import vanished
from backup_agent.operations.verifications import told_of
from backup_agent.report.log import LogReporter


def list_backups(
    config: ConfigOption = DEFAULT_CONFIG,
    instance: Annotated[
        str | None,
        typer.Option("--instance", metavar="ID", help="Another instance than the configured one, also one long gone."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the completed backups, newest first.

    Of this instance, from the store alone. Times are UTC.

    Ends with status 9 when a manifest can't be trusted; the others are listed all the same. Warns of backups that this
    host took, and did not delete, that are not there any more.

    \b
    Examples:
      backup-agent list
      backup-agent list --json | jq -r '.backups[0].id'
    """
    with session(config, json=json) as state:
        services = wire(state.config, LogReporter())
        instance_id = instance or services.policy.instance_id
        if not is_uuid(instance_id):
            raise RejectedError(ErrorCode.INVALID_REQUEST, f"{instance_id!r} is not an instance id", "Give a UUID.")
        catalogue = Catalogue(
            services.connect_store(state.cancellation, state.patience), services.container, services.trust
        )
        good, bad = catalogue.backups(instance_id)
        pinned = pins_of(catalogue, instance_id, [one.manifest.id for one in good])
        verified = told_of(catalogue, good)
        lost = catalogue.vanished(instance_id, {*(one.manifest.id for one in good), *(one.backup_id for one in bad)})
        state.cancellation.check()
        if json:
            backups = [
                {
                    **_resource(one, catalogue, verified.get(one.manifest.id, ())),
                    "pinned": one.manifest.id in pinned,
                }
                for one in good
            ]
            unreadable = [{"id": one.backup_id, "error": one.error.message} for one in bad]
            gone = [{"id": entry.id, "name": entry.name, "locationRef": entry.location} for entry in lost]
            print_json({"backups": backups, "unreadable": unreadable, "vanished": gone})
        else:
            _print(good, pinned, verified)
            if not good and not bad:
                typer.echo(f"There is no backup of instance {instance_id} in {catalogue.store.url}.", err=True)
        for entry in lost:
            warn(vanished(entry), terminal=state.terminal)
        for one in bad:
            say(one.error, terminal=state.terminal)
        if bad:
            raise typer.Exit(IntegrityError.exit_status)


def _resource(one: SealedManifest, catalogue: Catalogue, verified: Sequence[Verification]) -> dict[str, Any]:
    verification = verified[0] if verified else None
    location = catalogue.location(one.manifest.instance_id, one.manifest.id)
    return {
        **resource.of_completed(one, location, verification),
        "verification": verification.summary() if verification else None,
    }


def _print(
    backups: list[SealedManifest], pinned: Container[str], verified: Mapping[str, Sequence[Verification]]
) -> None:
    """Whether a backup is pinned, or was verified, is said where one is."""
    any_pinned = any(one.manifest.id in pinned for one in backups)
    more = [*(["PIN"] if any_pinned else []), *(["VERIFIED"] if verified else [])]
    print_table(
        ("ID", "TYPE", "PARENT", "FINISHED (UTC)", "SIZE", "RAW", *more, "NAME"),
        [
            (
                one.manifest.id,
                one.manifest.type.value,
                one.manifest.parent.id[:8] if one.manifest.parent else "-",
                one.manifest.finished[:19],
                size_text(one.manifest.totals.stored_size),
                size_text(one.manifest.totals.raw_size),
                *(["pinned" if one.manifest.id in pinned else "-"] if any_pinned else []),
                *([verified_text(verified.get(one.manifest.id, ()))] if verified else []),
                one.manifest.name,
            )
            for one in backups
        ],
    )

"""`backup-agent pin` and `unpin`: whether a backup is to stay, whatever the retention says."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from backup_agent.app.wiring import wire
from backup_agent.cli.options import DEFAULT_CONFIG, BackupArgument, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json
from backup_agent.cli.session import session
from backup_agent.domain.pin import Note
from backup_agent.domain.validation import explain
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.pins import remove_pin, set_pin
from backup_agent.report.log import LogReporter


def pin(
    backup_id: BackupArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    note: Annotated[str | None, typer.Option("--note", help="Why it is to stay, up to 512 characters.")] = None,
    json: JsonOption = False,
) -> None:
    """Keep a backup, and those it is built on.

    Neither `delete` nor `expire` removes them until it is unpinned.

    \b
    Examples:
      backup-agent pin latest --note "before the upgrade"
    """
    with session(config, json=json) as state:
        checked = _note(note)
        services = wire(state.config, LogReporter())
        catalogue = Catalogue(services.connect_store(state.cancellation, None), services.container, services.trust)
        sealed = catalogue.find(backup_id, services.policy.instance_id)
        set_pin(sealed, catalogue, services, checked)
        _print({"id": sealed.manifest.id, "pinned": True, "note": checked}, json=json)


def unpin(backup_id: BackupArgument, config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Let a pinned backup go again.

    It is then removed when it is deleted, or expires.

    \b
    Examples:
      backup-agent unpin 61f12fef-edb1-4561-8122-e7c00ef26a82
    """
    with session(config, json=json) as state:
        services = wire(state.config, LogReporter())
        catalogue = Catalogue(services.connect_store(state.cancellation, None), services.container, services.trust)
        sealed = catalogue.find(backup_id, services.policy.instance_id)
        was_pinned = remove_pin(sealed, catalogue)
        _print({"id": sealed.manifest.id, "pinned": False, "was_pinned": was_pinned}, json=json)


def _note(note: str | None) -> str | None:
    try:
        return TypeAdapter(Note | None).validate_python(note)
    except ValidationError as error:
        raise RejectedError(
            ErrorCode.INVALID_REQUEST, f"the note can't be kept: {explain(error, '--note')}", "Write it on one line."
        ) from error


def _print(result: dict[str, object], *, json: bool) -> None:
    if json:
        print_json({"backup": result})
    else:
        print_fields(result)

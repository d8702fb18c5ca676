"""`backup-agent verify`: whether a backup can be relied on."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from backup_agent.app.telling import with_metrics
from backup_agent.app.wiring import for_backups, journal_path, open_journal, wire
from backup_agent.cli.options import DEFAULT_CONFIG, BackupArgument, ConfigOption, IdentityOption, JsonOption
from backup_agent.cli.output import print_fields, print_json, print_table, size_text
from backup_agent.cli.progress import ProgressBar
from backup_agent.cli.restore import LogSteps
from backup_agent.cli.session import Session, session, tell_peak_memory
from backup_agent.domain.verification import Level, Verification
from backup_agent.errors import JournalError
from backup_agent.journal.reading import JournalReader
from backup_agent.operations import verify as operation
from backup_agent.operations.services import Services
from backup_agent.operations.verify import Verified, VerifyRequest, failure
from backup_agent.operations.verify_task import tell
from backup_agent.report.log import LogReporter
from backup_agent.stream.identity import read_identities

log = structlog.get_logger(__name__)


def verify(
    backup_id: BackupArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    level: Annotated[
        Level,
        typer.Option(
            "--level", help="Compare every stored byte with its digests, or also restore it and check its tables."
        ),
    ] = Level.DIGEST,
    each: Annotated[
        bool, typer.Option("--each", help="Also every backup of the chain before it, each with a result of its own.")
    ] = False,
    identity: IdentityOption = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            "--scratch", metavar="DIR", help="Where to restore; verify.scratch_dir of the configuration else."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that a backup can be restored.

    With the chain it needs. The result is kept beside it.

    Level `digest` reads every byte from the store and writes nothing to the disk; without an identity, an encrypted
    backup is compared as it is stored. Level `restore` restores it into a scratch directory, starts a private server
    on it, and runs CHECK TABLE on every table. Ends with status 14 when the backup can't be relied on.

    \b
    Examples:
      backup-agent verify latest
      backup-agent verify latest --level restore
      backup-agent verify 61f12fef --level restore --scratch /srv/scratch --identity /root/backup-identity.txt
    """
    with session(config, json=json) as state:
        request = VerifyRequest(
            backup_id,
            level,
            each=each,
            identities=read_identities(identity) if identity else (),
            scratch_dir=scratch.absolute() if scratch else None,
        )
        with ExitStack() as stack:
            step = stack.enter_context(ProgressBar()).step if state.terminal else LogSteps("verify").step
            services = wire(state.config, LogReporter())
            found = operation.verify(request, services, state.cancellation, step)
        tell_peak_memory()
        if json:
            print_json({"verifications": [_shown(one.verification) for one in found]})
        else:
            _print(found)
        error = failure(found)
        try:
            _tell(found, services, state)
        except JournalError as unheard:
            if error is None:
                raise
            log.warning("nobody is told of that", code=unheard.code, reason=unheard.message)
        if error is not None:
            raise error
        if found[-1].verification.figures.raw_bytes is None:
            log.warning("the chunks are as they were stored; without an identity, nothing more can be said of them")


def _shown(verification: Verification) -> dict[str, Any]:
    return {"backup_id": verification.backup_id, **verification.summary()}


def _tell(found: tuple[Verified, ...], services: Services, state: Session) -> None:
    """A platform hears of it where this host has a journal; a host that only restores has none, and needs none."""
    ours = [one for one in found if one.verification.instance_id == services.policy.instance_id]
    if not ours or not JournalReader(journal_path(state.config)).exists():
        return
    with closing(open_journal(state.config)) as journal:
        telling = replace(services, reporter=with_metrics(services.reporter, state.config, journal))
        for one in ours:
            tell(one, for_backups(telling, state.config, journal))


def _print(found: tuple[Verified, ...]) -> None:
    print_fields(_shown(found[-1].verification))
    if len(found) > 1:
        print_table(
            ("BACKUP", "RESULT", "SIZE", "TABLES", "SECONDS TO SERVE"),
            [
                (
                    one.backup_id,
                    one.result.value,
                    size_text(one.figures.stored_bytes),
                    str(one.figures.tables if one.figures.tables is not None else "-"),
                    str(one.figures.seconds.to_serve or "-"),
                )
                for one in (verified.verification for verified in found)
            ],
        )

"""`backup-agent show`: everything about one backup."""

from __future__ import annotations

from backup_agent.app.wiring import wire
from backup_agent.cli.options import DEFAULT_CONFIG, BackupArgument, ConfigOption, JsonOption
from backup_agent.cli.output import print_fields, print_json, print_table, size_text
from backup_agent.cli.session import session
from backup_agent.domain import resource
from backup_agent.domain.chain import Chain
from backup_agent.domain.manifest import SealedManifest
from backup_agent.errors import IntegrityError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.pins import pin_of
from backup_agent.operations.verifications import newest
from backup_agent.report.log import LogReporter


def show(backup_id: BackupArgument, config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show all about a backup, and its chain.

    Sizes (`size` in GB, others in bytes), LSNs, lock windows, binary log position, and the chain it is restored from.
    Times are UTC. An incremental whose two LSNs are equal is whole: no checkpoint came in between, and what was written
    is in its redo, up to `last_lsn`.

    \b
    Examples:
      backup-agent show 61f12fef-edb1-4561-8122-e7c00ef26a82
      backup-agent show 61f12fef-edb1-4561-8122-e7c00ef26a82 --json | jq .backup.binlog
    """
    with session(config, json=json) as state:
        services = wire(state.config, LogReporter())
        catalogue = Catalogue(
            services.connect_store(state.cancellation, state.patience), services.container, services.trust
        )
        sealed = catalogue.find(backup_id, services.policy.instance_id)
        manifest = sealed.manifest
        chain, broken = _chain(catalogue, sealed)
        location = catalogue.location(manifest.instance_id, manifest.id)
        verification = newest(catalogue, sealed)
        pin = pin_of(catalogue.store, catalogue.place(manifest.instance_id, manifest.id))
        backup = {
            **resource.of_completed(sealed, location, verification),
            **resource.details(manifest),
            "pin": pin.model_dump() if pin is not None else None,
            "verification": verification.summary() if verification else None,
        }
        if json:
            print_json({"backup": {**backup, "chain": [link.id for link in chain] if chain else None}})
        else:
            print_fields(backup)
        if broken is not None:
            raise broken
        if not json:
            print_table(
                ("CHAIN", "TYPE", "NAME", "FINISHED (UTC)", "SIZE", "RAW"),
                [
                    (
                        link.id,
                        link.type.value,
                        link.name,
                        link.finished[:19],
                        size_text(link.totals.stored_size),
                        size_text(link.totals.raw_size),
                    )
                    for link in chain or ()
                ],
            )


def _chain(catalogue: Catalogue, sealed: SealedManifest) -> tuple[Chain | None, IntegrityError | None]:
    """A backup whose chain is broken can't be restored, but can be looked at."""
    try:
        return catalogue.chain(sealed), None
    except IntegrityError as error:
        return None, error

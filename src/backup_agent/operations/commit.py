"""The end of a backup that went well: its manifest, which says what it is, and whose writing makes it one."""

from __future__ import annotations

from dataclasses import dataclass

from backup_agent.domain import manifest
from backup_agent.domain.command import BackupRequest
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import BackupType, EngineFacts, Manifest, Parent, SealedManifest
from backup_agent.engine.interface import EngineVersion
from backup_agent.instance.interface import Facts
from backup_agent.operations.attempt import Taken
from backup_agent.operations.clock import timestamp
from backup_agent.operations.services import BackupServices
from backup_agent.operations.trust import Signer
from backup_agent.storage.interface import Store
from backup_agent.stream.spool_bounds import SpoolBounds


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was known when the backup was let in."""

    facts: Facts
    engine: EngineVersion
    parent: SealedManifest | None
    room: SpoolBounds


def describe(
    request: BackupRequest, started: str, admitted: Admitted, taken: Taken, services: BackupServices
) -> Manifest:
    facts, parent = admitted.facts, admitted.parent
    return Manifest(
        format=manifest.FORMAT,
        agent_version=services.agent_version,
        id=request.id,
        name=request.name,
        description=request.description,
        instance_id=request.instance_id,
        account_id=request.account_id,
        type=BackupType.INCREMENTAL if parent else BackupType.FULL,
        parent=Parent(id=parent.manifest.id, manifest_sha256=parent.checksum) if parent else None,
        lineage=taken.lineage,
        server_started=facts.started,
        engine=EngineFacts(
            name=admitted.engine.name,
            version=admitted.engine.version,
            server_version=facts.version,
            datastore=facts.datastore,
            data_at_rest_encryption=facts.data_at_rest_encryption,
        ),
        lsn=taken.report.lsn,
        binlog=taken.report.binlog,
        binlog_digest=taken.binlog_digest,
        replication_source=taken.replication_source,
        nontransactional_bytes=facts.nontransactional_bytes,
        newest_tablespace=taken.newest_tablespace,
        files=taken.files,
        chunks=taken.uploaded.chunks,
        totals=taken.uploaded.totals,
        compression=services.stream.compression,
        encryption=services.stream.encryption,
        locks=taken.report.locks,
        started=started,
        finished=timestamp(services.clock.now()),
    )


def commit(described: Manifest, place: BackupPlace, store: Store, signer: Signer | None) -> SealedManifest:
    """From here on the backup exists. The signature comes first: a manifest is never there without it."""
    data = manifest.encode(described)
    if signer is not None:
        store.put(place.signature, signer.sign(data), once=True)
    sealed = SealedManifest(described, manifest.seal(data))
    store.put(place.manifest, data, sha256=sealed.checksum, once=True)
    return sealed

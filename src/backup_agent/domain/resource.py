"""The backup resource: what users of the API, `run-once`, `list` and `show` see of a backup (Trove's field names)."""

from __future__ import annotations

from typing import Any

from backup_agent.domain.command import BackupRequest
from backup_agent.domain.manifest import Manifest, SealedManifest
from backup_agent.domain.state import State
from backup_agent.domain.verification import Verification

GIB = 1 << 30
_NOTHING_STORED = {
    "size": None,
    "locationRef": None,
    "checksum": None,
    "datastore": None,
    "progress": 0,
    "error": None,
    "verified_at": None,
}
"""What a resource has in place of what a manifest tells."""


def of_completed(sealed: SealedManifest, location: str, verification: Verification | None = None) -> dict[str, Any]:
    """`location` is the manifest's URL in the store. `size` is in GiB stored, as Trove has it, `*_size` in bytes.

    `verification` is the newest one. `verified_at` is its time, and None when it failed, too.
    """
    manifest = sealed.manifest
    return {
        "id": manifest.id,
        "name": manifest.name,
        "description": manifest.description,
        "instance_id": manifest.instance_id,
        "parent_id": manifest.parent.id if manifest.parent else None,
        "type": manifest.type.value,
        "status": State.COMPLETED.value,
        "created": _without_zone(manifest.started),
        "updated": _without_zone(manifest.finished),
        "size": round(manifest.totals.stored_size / GIB, 3),
        "raw_size": manifest.totals.raw_size,
        "stored_size": manifest.totals.stored_size,
        "locationRef": location,
        "checksum": sealed.checksum,
        "datastore": _datastore(manifest),
        "progress": 100,
        "error": None,
        "verified_at": _verified_at(verification),
    }


def of_request(request: BackupRequest, status: State, *, created: str, updated: str) -> dict[str, Any]:
    """A backup that has no manifest (yet, or for good). The times are without zone."""
    return {
        "id": request.id,
        "name": request.name,
        "description": request.description,
        "instance_id": request.instance_id,
        "parent_id": request.parent_id,
        "status": status.value,
        "created": created,
        "updated": updated,
        **_NOTHING_STORED,
    }


def of_unknown(backup_id: str, instance_id: str) -> dict[str, Any]:
    """A backup of which nothing is known but its id: it has no manifest, and the journal has forgotten it."""
    return {
        "id": backup_id,
        "name": None,
        "description": None,
        "instance_id": instance_id,
        "parent_id": None,
        "status": State.FAILED.value,
        "created": None,
        "updated": None,
        **_NOTHING_STORED,
    }


def details(manifest: Manifest) -> dict[str, Any]:
    """What `show` adds: sizes in bytes, LSNs, lock windows in milliseconds and the binary log position."""
    return {
        "chunks": len(manifest.chunks),
        "files": len(manifest.files),
        "lsn": manifest.lsn.model_dump(),
        "lock": manifest.locks.model_dump(),
        "nontransactional_bytes": manifest.nontransactional_bytes,
        "binlog": manifest.binlog.model_dump() if manifest.binlog else None,
        "replication_source": manifest.replication_source,
        "encryption": manifest.encryption.model_dump(mode="json") if manifest.encryption else None,
        "engine": manifest.engine.model_dump(),
        "started": manifest.started,
        "finished": manifest.finished,
    }


def _datastore(manifest: Manifest) -> dict[str, str]:
    version = manifest.engine.server_version.split("-")[0]
    kind = manifest.engine.datastore
    return {"type": kind, "version": version, "version_id": f"{kind}-{version}"}


def _verified_at(verification: Verification | None) -> str | None:
    return _without_zone(verification.time) if verification is not None and verification.passed else None


def _without_zone(timestamp: str) -> str:
    return timestamp.partition(".")[0]

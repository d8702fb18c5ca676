"""The manifest: what a backup is, and the proof of every byte of it. A backup exists if and only if its manifest does.

Written last, as canonical JSON (sorted keys, no spaces, UTF-8) with the SHA-256 of its own payload inside; bytes that
are not canonical are refused, so any single flipped byte is noticed. The SHA-256 of the whole is the backup's
`checksum`, by which an incremental names its parent. That catches corruption; only a signature would catch forgery.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, StringConstraints, ValidationError

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import AccountId, BackupId, InstanceId
from backup_agent.domain.lineage import Lineage
from backup_agent.domain.lock_window import LockWindow
from backup_agent.errors import ErrorCode, IntegrityError

FORMAT: Literal[2] = 2
"""Of the manifests that are written. Format 1, which is read too, knew no encryption."""

_LATER_FIELDS = {"encryption", "newest_tablespace"}

LARGEST_CHUNK = 1 << 30
"""Bytes of the raw stream in a chunk at most: who reads a manifest makes room for that many, whoever wrote it."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
Timestamp = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
"""UTC, to the millisecond, so that the order of backups can be told."""


class BackupType(StrEnum):
    FULL = "full"
    INCREMENTAL = "incremental"


class Parent(Frozen):
    id: BackupId
    manifest_sha256: Sha256


class EngineFacts(Frozen):
    name: str
    version: str
    server_version: str
    datastore: Literal["mariadb", "mysql"]
    data_at_rest_encryption: bool


class LsnRange(Frozen):
    """InnoDB log sequence numbers. `to_lsn` is the checkpoint an incremental of this backup starts from; it may equal
    `from_lsn`, also several times in a row. `last_lsn` is the last redo the backup holds.
    """

    from_lsn: NonNegativeInt
    to_lsn: NonNegativeInt
    last_lsn: NonNegativeInt


class BinlogPosition(Frozen):
    """Where a replica made from this backup starts to read."""

    file: str
    position: NonNegativeInt
    gtid: str


class File(Frozen):
    """A file the stream holds, relative to the data directory, and its size in bytes once extracted."""

    path: str
    size: NonNegativeInt


class Chunk(Frozen):
    """Sizes in bytes; the digest is over the stored bytes."""

    raw_size: Annotated[int, Field(ge=0, le=LARGEST_CHUNK)]
    stored_size: NonNegativeInt
    sha256: Sha256


class Totals(Frozen):
    raw_size: NonNegativeInt
    stored_size: NonNegativeInt
    raw_sha256: Sha256
    """Over the whole raw stream, chunk after chunk."""


class Compression(Frozen):
    algorithm: Literal["zstd", "none"]
    level: int
    """Of zstd, the lowest where it was adapted to the store; 0 with `none`."""


class Encryption(Frozen):
    """Each chunk is an age file for these recipients, who are named by their fingerprints."""

    scheme: Literal["age"]
    recipients: Annotated[tuple[Fingerprint, ...], Field(min_length=1)]


def chunk_suffix(compression: Compression, *, encrypted: bool) -> str:
    """What the names of chunks end in."""
    return (".zst" if compression.algorithm == "zstd" else "") + (".age" if encrypted else "")


class Manifest(Frozen):
    format: Literal[1, 2]
    agent_version: str
    id: BackupId
    name: str
    description: str | None
    instance_id: InstanceId
    account_id: AccountId
    type: BackupType
    parent: Parent | None
    lineage: Lineage
    server_started: NonNegativeInt
    """Seconds since the epoch, by the server's clock."""
    engine: EngineFacts
    lsn: LsnRange
    binlog: BinlogPosition | None
    binlog_digest: Sha256 | None
    """Of the binary log's bytes up to that position: a data directory that was put back has others there."""
    replication_source: str | None
    """What the engine noted of a replica's own source (`CHANGE MASTER TO ...`), None when it is no replica."""
    nontransactional_bytes: NonNegativeInt
    newest_tablespace: NonNegativeInt | None = None
    """No InnoDB tablespace in the backup, or in one that it was made from, has a larger id. None where nobody asked."""
    files: tuple[File, ...]
    chunks: Annotated[tuple[Chunk, ...], Field(min_length=1)]
    totals: Totals
    compression: Compression
    encryption: Encryption | None = None
    locks: LockWindow
    started: Timestamp
    finished: Timestamp

    @property
    def chunk_suffix(self) -> str:
        return chunk_suffix(self.compression, encrypted=self.encryption is not None)

    @property
    def files_size(self) -> int:
        """Bytes the extracted files take."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class SealedManifest:
    """A manifest together with the bytes' digest by which others refer to it."""

    manifest: Manifest
    checksum: str
    """SHA-256 of the whole object, in hex."""

    def outline(self) -> SealedManifest:
        """The same backup without its lists of files and chunks, to be looked at, not restored."""
        return SealedManifest(self.manifest.model_copy(update={"files": (), "chunks": ()}), self.checksum)


def encode(manifest: Manifest) -> bytes:
    """The one canonical form of `manifest`."""
    payload = manifest.model_dump(mode="json", exclude=_LATER_FIELDS if manifest.format == 1 else None)
    return _canonical({"payload": payload, "sha256": hashlib.sha256(_canonical(payload)).hexdigest()})


def seal(data: bytes) -> str:
    """The `checksum` of a manifest's bytes."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, *, instance_id: str, backup_id: str) -> SealedManifest:
    """The manifest in `data`, which must be that of `backup_id`.

    Raises IntegrityError: `manifest_corrupt` for any byte that is not as written, or a manifest that belongs elsewhere;
    `manifest_format` for a newer format.
    """
    try:
        document = json.loads(data)
        payload, digest = document["payload"], document["sha256"]
        whole = _canonical(document)
        payload_digest = hashlib.sha256(_canonical(payload)).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _corrupt(backup_id, "it is not the JSON that was written") from error
    if whole != data or set(document) != {"payload", "sha256"} or payload_digest != digest:
        raise _corrupt(backup_id, "its digest does not match its content")
    if not isinstance(payload, dict) or payload.get("format") not in (1, FORMAT):
        raise _newer(backup_id, payload)
    try:
        manifest = Manifest.model_validate_json(_canonical(payload))
    except ValidationError as error:
        raise _corrupt(backup_id, f"{error.error_count()} of its fields are not as the format has them") from error
    if (manifest.id, manifest.instance_id) != (backup_id, instance_id):
        raise _corrupt(backup_id, f"it is that of backup {manifest.id} of instance {manifest.instance_id}")
    if (manifest.format == FORMAT) != ("encryption" in manifest.model_fields_set):
        raise _corrupt(backup_id, f"it has not the fields of format {manifest.format}")
    _check_totals(manifest)
    return SealedManifest(manifest, seal(data))


def _check_totals(manifest: Manifest) -> None:
    raw = sum(chunk.raw_size for chunk in manifest.chunks)
    stored = sum(chunk.stored_size for chunk in manifest.chunks)
    if (raw, stored) != (manifest.totals.raw_size, manifest.totals.stored_size):
        raise _corrupt(manifest.id, "its chunks do not add up to its totals")
    if (manifest.type is BackupType.INCREMENTAL) != (manifest.parent is not None):
        raise _corrupt(manifest.id, "its type does not fit its parent")


def _canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _corrupt(backup_id: str, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.MANIFEST_CORRUPT,
        f"the manifest of backup {backup_id} can't be trusted: {why}",
        "The store changed or lost bytes. Restore another backup, and check the store.",
    )


def _newer(backup_id: str, payload: object) -> IntegrityError:
    found = payload.get("format") if isinstance(payload, dict) else None
    return IntegrityError(
        ErrorCode.MANIFEST_FORMAT,
        f"the manifest of backup {backup_id} has format {found!r}; this program reads formats up to {FORMAT}",
        "Use the version of backup-agent that wrote it, or a newer one.",
    )

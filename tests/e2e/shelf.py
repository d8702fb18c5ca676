"""A chain of backups and another one, made by the code that makes real ones (Upload, commit), of streams that are
small, so that thousands of changes to them are read in seconds.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import (
    BackupType,
    Compression,
    LsnRange,
    Manifest,
    Parent,
    SealedManifest,
)
from backup_agent.domain.recipient import parse
from backup_agent.operations.commit import commit
from backup_agent.operations.signatures import Ed25519Signatures, SigningKey
from backup_agent.operations.trust import Remembered, Trust
from backup_agent.storage.local import LocalStore
from backup_agent.stream.identity import Identity
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool import Spool
from backup_agent.stream.spool_bounds import SpoolBounds
from backup_agent.stream.upload import Upload
from tests.unit.manifests import manifest_of

KIB = 1 << 10
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
IDS = tuple(f"{number}1f12fef-edb1-4561-8122-e7c00ef26a82" for number in range(4))
"""A full, two incrementals on top of it, and another full."""
ZSTD = Compression(algorithm="zstd", level=1)
ELSEWHERE = Spool(Path("/nonexistent"), SpoolBounds(limit=0, reserve=0, floor=0))


class Nod:
    """A judge who accepts everything."""

    def feed(self, data: bytes | memoryview) -> None:
        """Nothing to say."""


@dataclass
class Shelf:
    """Backups in a directory. `earlier` are the objects of another, genuine backup that once had the same id."""

    root: Path
    store: LocalStore
    settings: StreamSettings
    identities: tuple[Identity, ...]
    key: SigningKey
    backups: list[SealedManifest]
    streams: dict[str, bytes]
    earlier: dict[str, dict[str, bytes]]

    @property
    def trust(self) -> Trust:
        """Signatures are required, and the journal remembers all that was taken last."""
        remembered = {
            one.manifest.id: Remembered(one.manifest.id, one.manifest.name, one.checksum, self.location(one))
            for one in self.backups
        }
        return Trust(Ed25519Signatures([self.key.public], required=True), lambda: remembered)

    @property
    def links(self) -> list[Manifest]:
        return [sealed.manifest for sealed in self.backups[:3]]

    def location(self, one: SealedManifest) -> str:
        return f"{self.store.url}/{BackupPlace('c', INSTANCE, one.manifest.id).manifest}"

    def directory(self, backup_id: str) -> Path:
        return self.root / "c" / INSTANCE / backup_id

    def chunks(self, backup_id: str) -> list[Path]:
        return sorted(self.directory(backup_id).glob("chunk-*"))

    def objects(self, backup_id: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory(backup_id).iterdir()}


def shelf(base: Path, *, encrypted: bool) -> Shelf:
    """Of three links of ten chunks each, and another full that is as large."""
    key = pyrage.x25519.Identity.generate()
    recipient = parse(str(key.to_public()))
    settings = StreamSettings(
        chunk_size=16 * KIB,
        memory=8 * 16 * KIB,
        threads=2,
        transfers=2,
        compression=ZSTD,
        recipients=(recipient,) if encrypted else (),
    )
    store = LocalStore(base, create=True)
    store.prepare("c")
    signing = SigningKey(Ed25519PrivateKey.generate())
    made = Shelf(base, store, settings, (Identity(recipient.fingerprint, key),), signing, [], {}, {})
    for backup_id in IDS[:3]:  # what had these ids before, and was deleted
        _take(made, backup_id, None, seed=f"earlier {backup_id}")
        made.earlier[backup_id] = made.objects(backup_id)
        for path in made.directory(backup_id).iterdir():
            path.unlink()
    for backup_id in IDS:
        parent = made.backups[-1] if made.backups and backup_id != IDS[3] else None
        made.backups.append(_take(made, backup_id, parent, seed=backup_id))
    return made


def _take(made: Shelf, backup_id: str, parent: SealedManifest | None, *, seed: str) -> SealedManifest:
    chance = random.Random(seed)
    raw = b"".join(chance.randbytes(32) * 4 for _ in range(9 * 128 + 100))
    made.streams[backup_id] = raw
    place = BackupPlace("c", INSTANCE, backup_id)
    upload = Upload(made.store, place, made.settings, ELSEWHERE, locked=lambda: False, on_failure=lambda: None)
    uploaded = upload.run(io.BytesIO(raw), Nod(), lambda: None)
    start = parent.manifest.lsn.to_lsn if parent else 0
    described = manifest_of(
        place,
        format=2,
        type=BackupType.INCREMENTAL if parent else BackupType.FULL,
        parent=Parent(id=parent.manifest.id, manifest_sha256=parent.checksum) if parent else None,
        lsn=LsnRange(from_lsn=start, to_lsn=start + 1000, last_lsn=start + 1000),
        chunks=uploaded.chunks,
        totals=uploaded.totals,
        encryption=made.settings.encryption,
    )
    return commit(described, place, made.store, made.key)

"""The names of objects below a store's root. Keys are written once and never rewritten.

`<container>/<instance_id>/<backup_id>/chunk-<8 digits>.zst` (without the suffix when nothing is compressed, with `.age`
after it when encrypted), `manifest.json.sig` where backups are signed, and, last, `manifest.json`.
Later comes `verify/<UTC time>.json` for each verification.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_CONTAINER = "z_CLOUDDB_BACKUPS"
MANIFEST = "manifest.json"
_CHUNK = "chunk-"
SIGNATURE = "manifest.json.sig"


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """Where one backup's objects are."""

    container: str
    instance_id: str
    backup_id: str

    @property
    def prefix(self) -> str:
        """Ends in a slash, so that no other backup's id can share it."""
        return f"{instance_prefix(self.container, self.instance_id)}{self.backup_id}/"

    @property
    def manifest(self) -> str:
        return f"{self.prefix}{MANIFEST}"

    @property
    def signature(self) -> str:
        """Of the manifest, in an object beside it."""
        return f"{self.prefix}{SIGNATURE}"

    @property
    def verifications(self) -> str:
        """The prefix of their results."""
        return f"{self.prefix}verify/"

    def verification(self, time: str) -> str:
        """The key of the result of `time`, which is as a manifest has it; the keys are in the order of time."""
        return f"{self.verifications}{time.replace('-', '').replace(':', '')}.json"

    def chunk(self, number: int, suffix: str) -> str:
        """The key of chunk `number`, counted from 0."""
        return f"{self.prefix}{_CHUNK}{number:08d}{suffix}"


def is_chunk(key: str) -> bool:
    """Of whichever backup, and whatever was done to it."""
    return key.rpartition("/")[2].startswith(_CHUNK)


def owner_of(key: str) -> tuple[str, str] | None:
    """The ids of the instance and the backup that an object belongs to; None for what belongs to no backup."""
    match key.split("/"):
        case [_, instance_id, backup_id, _, *_]:
            return instance_id, backup_id
        case _:
            return None


def container_prefix(container: str) -> str:
    return f"{container}/"


def instance_prefix(container: str, instance_id: str) -> str:
    return f"{container_prefix(container)}{instance_id}/"

"""Whether a manifest that was read is the one that was written: by its signature, and by what the journal remembers.

The checks that need nothing but the bytes are the manifest's own (domain.manifest). It does not read the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from backup_agent.domain.manifest import SealedManifest
from backup_agent.errors import ErrorCode, IntegrityError, JournalError
from backup_agent.report.told import told

log = structlog.get_logger(__name__)


class Signer(Protocol):
    def sign(self, manifest: bytes) -> bytes:
        """The object that goes beside the manifest."""
        ...


class Signatures(Protocol):
    def check(self, backup_id: str, manifest: bytes, signature: bytes | None) -> None:
        """`signature` is the object beside the manifest, None when there is none.

        Raises IntegrityError (`signature_missing`, `signature_unknown_key`, `signature_invalid`).
        """
        ...


class CompletedEvents(Protocol):
    """A journal, as far as it is asked here."""

    def completed(self) -> Sequence[bytes]:
        """The last event of each backup that completed and was not deleted since. Raises JournalError."""
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """A backup that this host took. `location` is its manifest's URL."""

    id: str
    name: str
    checksum: str
    location: str


Memory = Callable[[], Mapping[str, Remembered]]
"""What this host remembers now, by id."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is asked of every manifest that is read. `signatures` is None where none are looked at."""

    signatures: Signatures | None
    memory: Memory


def no_memory() -> Mapping[str, Remembered]:
    """Of a host that has no journal."""
    return {}


def memory_of(journal: CompletedEvents) -> Memory:
    """A journal that can't be read is told of, and remembers nothing: a restore must do without."""

    def remember() -> Mapping[str, Remembered]:
        try:
            events = journal.completed()
        except JournalError as error:
            log.warning(
                "the journal can't be asked whether backups were replaced", code=error.code, reason=error.message
            )
            return {}
        return {entry.id: entry for entry in map(_remembered, events) if entry is not None}

    return remember


def _remembered(body: bytes) -> Remembered | None:
    try:
        found = told(body)
    except ValueError as error:
        log.warning("an event in the journal can't be read", reason=str(error))
        return None
    if found.id is None or found.checksum is None or found.location is None:
        return None
    return Remembered(found.id, found.name or "", found.checksum, found.location)


def check_replayed(sealed: SealedManifest, remembered: Mapping[str, Remembered]) -> None:
    """Raises IntegrityError (`backup_replayed`) when this host took another backup of that id."""
    entry = remembered.get(sealed.manifest.id)
    if entry is not None and entry.checksum != sealed.checksum:
        raise IntegrityError(
            ErrorCode.BACKUP_REPLAYED,
            f"backup {entry.id} in the store is not the one that this host took: its checksum is {sealed.checksum}, "
            f"the journal remembers {entry.checksum}",
            "Somebody has put another backup in its place. Find out who can write to the store; restore another one.",
        )


def vanished(entry: Remembered) -> IntegrityError:
    return IntegrityError(
        ErrorCode.BACKUP_VANISHED,
        f"backup {entry.id} ({entry.name}), which this host took, is not at {entry.location} any more",
        "If nobody deleted it on purpose, find out who can write to the store. It is remembered for journal.keep_days.",
    )

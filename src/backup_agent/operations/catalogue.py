"""The backups a store holds, read from the store alone: nothing else is needed to list, show or restore them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from backup_agent.domain import chain
from backup_agent.domain.chain import Chain
from backup_agent.domain.ids import is_uuid
from backup_agent.domain.layout import BackupPlace, container_prefix, instance_prefix
from backup_agent.domain.manifest import SealedManifest, decode
from backup_agent.domain.signature import LIMIT as SIGNATURE_LIMIT
from backup_agent.errors import ErrorCode, IntegrityError, MissingError, RejectedError
from backup_agent.operations.trust import Remembered, Trust, check_replayed, vanished
from backup_agent.storage.interface import Store

MANIFEST_LIMIT = 512 << 20
"""Bytes read of a manifest at most: some 100 bytes a file and a chunk, so 2 million of both."""
_READERS = 4


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A backup whose manifest can't be trusted."""

    backup_id: str
    error: IntegrityError


LATEST = "latest"
_BEGINNING = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,31}")


def check_id(text: str) -> None:
    """Whether `text` can mean a backup: an id, its beginning (4 characters or more), or `latest`.

    Raises RejectedError (`invalid_request`).
    """
    if text != LATEST and not is_uuid(text) and not _BEGINNING.fullmatch(text):
        raise RejectedError(
            ErrorCode.INVALID_REQUEST,
            f"{text[:64]!r} is not a backup id",
            "Give an id as `backup-agent list` shows it, its first characters (4 or more), or `latest`.",
        )


class Catalogue:
    """The backups in one container. `trust` is asked about every manifest before it is given out."""

    def __init__(self, store: Store, container: str, trust: Trust) -> None:
        self.store = store
        self.container = container
        self._signatures = trust.signatures
        self._remembered = cache(trust.memory)

    def place(self, instance_id: str, backup_id: str) -> BackupPlace:
        return BackupPlace(self.container, instance_id, backup_id)

    def location(self, instance_id: str, backup_id: str) -> str:
        """The URL of the manifest."""
        return f"{self.store.url}/{self.place(instance_id, backup_id).manifest}"

    def load(self, instance_id: str, backup_id: str) -> SealedManifest:
        """Raises MissingError when there is no manifest, IntegrityError when it can't be trusted."""
        place = self.place(instance_id, backup_id)
        data = self.store.get(place.manifest, limit=MANIFEST_LIMIT)
        sealed = decode(data, instance_id=instance_id, backup_id=backup_id)
        if self._signatures is not None:
            self._signatures.check(backup_id, data, self._signature(place))
        check_replayed(sealed, self._remembered())
        return sealed

    def _signature(self, place: BackupPlace) -> bytes | None:
        try:
            return self.store.get(place.signature, limit=SIGNATURE_LIMIT)
        except MissingError:
            self.store.get(place.manifest, limit=MANIFEST_LIMIT)  # MissingError: the backup was deleted just now
            return None

    def find(self, text: str, instance_id: str) -> SealedManifest:
        """The backup that `text` means (see check_id). A whole id is first looked for among the backups of
        `instance_id`, then among all of the container; anything shorter means one of the instance's own.

        Raises RejectedError (`backup_not_found`, `invalid_request`) and IntegrityError.
        """
        check_id(text)
        backup_id = text if is_uuid(text) else self._complete(text, instance_id)
        for candidate in self._owners(instance_id):
            try:
                return self.load(candidate, backup_id)
            except MissingError:
                continue
        if (entry := self._remembered().get(backup_id)) and entry.location == self.location(instance_id, backup_id):
            raise vanished(entry)
        raise self._not_found(backup_id)

    def vanished(self, instance_id: str, present: Collection[str]) -> list[Remembered]:
        """The backups that this host took, and did not delete, that are not among `present`, the ids in the store."""
        return [
            entry
            for entry in self._remembered().values()
            if entry.id not in present and entry.location == self.location(instance_id, entry.id)
        ]

    def _complete(self, text: str, instance_id: str) -> str:
        if text == LATEST:
            good, _ = self.backups(instance_id)
            if not good:
                raise self._not_found(f"of instance {instance_id}")
            return good[0].manifest.id
        names = self.store.children(instance_prefix(self.container, instance_id))
        ids = [name for name in names if is_uuid(name) and name.startswith(text)]
        if len(ids) > 1:
            raise RejectedError(
                ErrorCode.INVALID_REQUEST, f"{text} begins several ids: {', '.join(ids[:5])}", "Give more of the id."
            )
        if not ids:
            raise self._not_found(text)
        return ids[0]

    def _not_found(self, what: str) -> RejectedError:
        return RejectedError(
            ErrorCode.BACKUP_NOT_FOUND,
            f"there is no completed backup {what} in {self.store.url}/{self.container}",
            "`backup-agent list` shows the backups there are.",
        )

    def owner_of_objects(self, backup_id: str, instance_id: str) -> str | None:
        """The instance below which objects of `backup_id` lie, with a manifest or without; None when nowhere."""
        for candidate in self._owners(instance_id):
            if self.has_objects(candidate, backup_id):
                return candidate
        return None

    def has_objects(self, instance_id: str, backup_id: str) -> bool:
        return next(iter(self.store.list(self.place(instance_id, backup_id).prefix)), None) is not None

    def backups(self, instance_id: str) -> tuple[list[SealedManifest], list[Unreadable]]:
        """The completed backups of an instance, newest first, and those whose manifest can't be trusted.

        Outlines only, without lists of files and chunks: all manifests whole may be more than fits into memory.
        """
        ids = [name for name in self.store.children(instance_prefix(self.container, instance_id)) if is_uuid(name)]
        good: list[SealedManifest] = []
        bad: list[Unreadable] = []
        with ThreadPoolExecutor(_READERS, "manifest") as pool:
            for entry in pool.map(lambda backup_id: self._try_load(instance_id, backup_id), ids):
                if isinstance(entry, SealedManifest):
                    good.append(entry)
                elif entry is not None:
                    bad.append(entry)
        good.sort(key=lambda sealed: sealed.manifest.finished, reverse=True)
        return good, bad

    def chain(self, tip: SealedManifest) -> Chain:
        """Raises IntegrityError (`parent_changed`, `manifest_corrupt`), also when an ancestor is gone."""

        def fetch(parent_id: str) -> SealedManifest:
            try:
                return self.load(tip.manifest.instance_id, parent_id)
            except MissingError as error:
                raise IntegrityError(
                    ErrorCode.PARENT_CHANGED,
                    f"backup {parent_id}, on which backup {tip.manifest.id} is built, is not in the store",
                    "The chain is broken there. Restore a backup before it, and take a new full backup.",
                ) from error

        return chain.resolve(tip, fetch)

    def _try_load(self, instance_id: str, backup_id: str) -> SealedManifest | Unreadable | None:
        try:
            return self.load(instance_id, backup_id).outline()
        except MissingError:
            return None
        except IntegrityError as error:
            return Unreadable(backup_id, error)

    def _owners(self, first: str) -> Iterator[str]:
        yield first
        for name in self.store.children(container_prefix(self.container)):
            if name != first and is_uuid(name):
                yield name

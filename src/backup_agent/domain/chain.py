"""A chain: a full backup and the incrementals that lead from it to one backup, each naming its parent by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backup_agent.domain.manifest import BackupType, Manifest, SealedManifest
from backup_agent.errors import ErrorCode, IntegrityError


@dataclass(frozen=True, slots=True)
class Chain:
    """Base first, tip last."""

    links: tuple[SealedManifest, ...]

    @property
    def tip(self) -> Manifest:
        return self.links[-1].manifest

    @property
    def base(self) -> Manifest:
        return self.links[0].manifest

    @property
    def incrementals(self) -> tuple[Manifest, ...]:
        return tuple(link.manifest for link in self.links[1:])

    def __iter__(self) -> Iterator[Manifest]:
        return (link.manifest for link in self.links)

    def __len__(self) -> int:
        return len(self.links)


def resolve(tip: SealedManifest, fetch: Callable[[str], SealedManifest]) -> Chain:
    """The chain that ends in `tip`; `fetch` gives the manifest of a backup id of the same instance.

    Raises IntegrityError (`parent_changed`) when a link does not fit the next: another digest, instance or LSN, or a
    loop. What `fetch` raises passes through.
    """
    links = [tip]
    seen = {tip.manifest.id}
    while (parent := links[-1].manifest.parent) is not None:
        if parent.id in seen:
            raise _broken(links[-1].manifest, "its ancestors form a loop")
        seen.add(parent.id)
        link = fetch(parent.id)
        _check_link(links[-1].manifest, link)
        links.append(link)
    return Chain(tuple(reversed(links)))


def _check_link(child: Manifest, parent: SealedManifest) -> None:
    if child.parent is None or parent.checksum != child.parent.manifest_sha256:
        raise _broken(child, f"the manifest of its parent {parent.manifest.id} was changed since")
    if parent.manifest.instance_id != child.instance_id:
        raise _broken(child, "its parent is a backup of another instance")
    if parent.manifest.lsn.to_lsn != child.lsn.from_lsn:
        raise _broken(child, f"it starts at LSN {child.lsn.from_lsn}, its parent ends at {parent.manifest.lsn.to_lsn}")
    if child.type is not BackupType.INCREMENTAL:
        raise _broken(child, "it is a full backup with a parent")


def _broken(child: Manifest, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.PARENT_CHANGED,
        f"backup {child.id} can't be joined to its parent: {why}",
        "The chain is broken here. Restore a backup before this one, and take a new full backup.",
    )

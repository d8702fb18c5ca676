"""Which backups go when one does, and in what order. Decides only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import NonNegativeInt

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import BackupId, ContainerName


class Doomed(Frozen):
    """A backup that is to go, and what is known of it while its manifest can still be read."""

    id: BackupId
    whole: bool = True
    """Whether it had a manifest when that was found; otherwise it is the rest of one that failed, or of a deletion."""
    chunks: NonNegativeInt = 0
    """How many objects of its stream there are at least: listings may lag."""
    suffix: str = ""
    """What the names of those end in."""
    backup: dict[str, Any]
    """The backup resource."""


class Plan(Frozen):
    """What a deletion removes, the deepest first, so that what is left is restorable at any moment."""

    container: ContainerName
    backups: tuple[Doomed, ...]

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(doomed.id for doomed in self.backups)


def with_dependants(target: str, parents: Mapping[str, str | None]) -> tuple[str, ...]:
    """`target` and all that is built on it, each before what it is built on. `parents` has the parent of each backup.

    A loop, which no backup of ours can be part of, is gone round once.
    """
    children: dict[str, list[str]] = {}
    for child, parent in sorted(parents.items()):
        if parent is not None:
            children.setdefault(parent, []).append(child)
    found = [target]
    seen = {target}
    for backup in found:  # grows meanwhile
        new = [child for child in children.get(backup, ()) if child not in seen]
        seen.update(new)
        found += new
    return tuple(reversed(found))

"""The kinds of tasks this agent carries out: another one is added here, and in domain/command.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backup_agent.operations.delete import DELETE
from backup_agent.operations.tasks import Kind

_ALL: tuple[Kind[Any], ...] = (DELETE,)
KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _ALL}
"""By the types of their commands."""

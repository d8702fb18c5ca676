"""The kinds of tasks this agent carries out: another one is added here, and in domain/command.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backup_agent.operations.delete import DELETE
from backup_agent.operations.tasks import Kind
from backup_agent.operations.verify_task import VERIFY

_ALL: tuple[Kind[Any], ...] = (DELETE, VERIFY)
KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _ALL}
"""By the types of their commands."""

"""The kinds of tasks this agent carries out: another one is added here, and in domain/command.py; an operation on the
instance itself in domain/instance_command.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backup_agent.operations.delete import DELETE
from backup_agent.operations.instance_databases import CREATE_DATABASES, DELETE_DATABASE, LIST_DATABASES
from backup_agent.operations.instance_operation import Operation
from backup_agent.operations.instance_power import DELETE_INSTANCE, RESTART, STOP
from backup_agent.operations.instance_users import CREATE_USERS, DELETE_USER, LIST_USERS
from backup_agent.operations.tasks import Kind
from backup_agent.operations.verify_task import VERIFY

_ALL: tuple[Kind[Any], ...] = (DELETE, VERIFY)
KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _ALL}
"""By the types of their commands."""
_OPERATIONS: tuple[Operation[Any], ...] = (
    CREATE_DATABASES, LIST_DATABASES, DELETE_DATABASE, CREATE_USERS, LIST_USERS, DELETE_USER, RESTART, STOP,
    DELETE_INSTANCE,
)  # fmt: skip
OPERATIONS: Mapping[str, Operation[Any]] = {operation.name: operation for operation in _OPERATIONS}
"""By the types of their commands."""

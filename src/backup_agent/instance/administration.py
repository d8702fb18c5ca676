"""What the operations on an instance ask of its server: databases, users, whether it runs. Contracts and values.

Implemented by administration_sql and administration_vitals, with a database user of their own, who may do more than
the one for backups.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from backup_agent.cancellation import Cancellation
from backup_agent.domain.administration import Action


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    character_set: str
    collate: str


@dataclass(frozen=True, slots=True)
class User:
    """An account; roles are none."""

    name: str
    host: str
    databases: tuple[str, ...]
    """Those that are granted by their names, in order."""
    powerful: bool
    """Whether it may do something beyond single databases of its own: then it is the operator's."""


class Administration(Protocol):
    """Each call makes its own connection. Calls may come from any thread; names may be any.

    Raises InstanceError: as `Instance` does, and `statement_failed` for what the server refuses; RejectedError
    (`database_exists`, `database_not_found`, `user_exists`, `user_not_found`, `name_refused`) when nothing was changed.
    """

    def databases(self) -> Sequence[Database]:
        """All, those of the system too, in the order of their names."""
        ...

    def users(self) -> Sequence[User]:
        """All, those of the system too, in the order of their names and hosts."""
        ...

    def collations(self) -> frozenset[tuple[str, str]]:
        """What goes together: character set, collation."""
        ...

    def create_database(
        self, name: str, *, character_set: str | None = None, collate: str | None = None, again: bool = False
    ) -> None:
        """`again`: one of that name is no error, and left as it is."""
        ...

    def drop_database(self, name: str, *, again: bool = False) -> None:
        """With all that is in it. Waits for who uses it, bounded. `again`: none of that name is no error."""
        ...

    def create_user(
        self, name: str, host: str, password_hash: str, databases: Sequence[str], *, again: bool = False
    ) -> None:
        """With all privileges on those databases, and none else. `again`: one of that name and host is no error; it
        gets the privileges, and keeps its password.
        """
        ...

    def drop_user(self, name: str, host: str, *, again: bool = False) -> None:
        """Its connections stay. `again`: none of that name and host is no error."""
        ...


class Vitals(Protocol):
    """Whether the server runs, and since when."""

    def started(self) -> int | None:
        """When the server that runs was started, in seconds by its own clock; None when it can't be reached.

        Raises InstanceError when it is reached, and refuses.
        """
        ...

    def listens(self) -> bool:
        """Whether anybody accepts connections at its place, whoever may log in."""
        ...

    def missing_grants(self) -> tuple[str, ...]:
        """What the database user of the operations lacks. Raises InstanceError, also when the server is no MariaDB."""
        ...


class Power(Protocol):
    """Whoever can start and stop the server. Not the agent itself."""

    def can(self, action: Action) -> bool:
        """Whether it is configured to."""
        ...

    def asked(self, action: Action, seconds: float, cancellation: Cancellation) -> AbstractContextManager[None]:
        """Asks, and enters the context when that has been done as far as the asked one knows; leaving it takes back
        what was not. Raises InstanceError (`power_failed`), after `seconds` at the latest, and the reason of
        `cancellation`.
        """
        ...

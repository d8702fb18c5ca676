"""Who asks, whoever knows that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Caller:
    account_id: str
    admin: bool = False
    """May ask for all accounts."""

    @property
    def scope(self) -> str | None:
        """Whose objects exist for the caller; None: everybody's."""
        return None if self.admin else self.account_id


class Authenticator(Protocol):
    """Safe from any thread."""

    def remembered(self, token: str) -> Caller | None:
        """Never blocks. None when only `caller` can tell."""
        ...

    def caller(self, token: str) -> Caller | None:
        """None for a token that is not valid. May block, for a request to Keystone say. Raises Fault (503) when that
        can't be found out now.
        """
        ...

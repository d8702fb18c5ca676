"""How commands come in, whoever brings them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backup_agent.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that will never be carried out; it goes to the dead letters with these words."""

    code: ErrorCode
    reason: str


Accept = Callable[[bytes], Refused | None]
"""Takes a message over for good: when it returns None, the message is on disk and may be acknowledged.

Called from the inbox's thread, one message at a time; quick. A message that comes twice must be harmless. Raises
BackupAgentError when it can't be taken over now: the message is then given back, and the inbox comes back later.
"""

"""What the connections to the broker are made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Times are in seconds. `endpoints` says whether they can be used at all."""

    urls: tuple[str, ...] = field(repr=False)
    """Tried in turn. They may hold a password."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    declare: bool = True
    """Make exchanges and queues; otherwise only look whether they are there."""
    heartbeat: int = 30
    connect_timeout: float = 10
    """For each address: until the connection is open, DNS apart."""
    blocked_timeout: float = 60
    """A broker that takes or answers nothing for so long is left."""
    reconnect_max: float = 30
    """The longest pause between two tries."""
    dead_letter_limit: int = 10_000
    """Messages in the dead-letter queue."""

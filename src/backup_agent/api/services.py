"""What the routes work with, made once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from backup_agent.api.callers import Authenticator, Caller
from backup_agent.api.catalogue.creating import Rules
from backup_agent.api.catalogue.database import Database
from backup_agent.api.rates import RateLimiter

VERBS = ("GET", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    authenticator: Authenticator
    limiter: RateLimiter
    rules: Rules
    rates: dict[str, int]
    """Requests a minute by verb."""
    broker_away: timedelta
    """How long the broker may be away before new backups are refused."""
    max_body: int
    """Bytes."""
    public_url: str | None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def caller(request: Request) -> Caller:
    """Whom the gate has let in."""
    found: Caller = request.state.caller
    return found

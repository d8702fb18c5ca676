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
from backup_agent.api.waiting import Waiters

VERBS = ("GET", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class OperationRules:
    """Of operations on instances. What an agent has not begun `begin_within`, it does not begin any more; a change is
    answered 202, and a list 503, when the agent has not answered for so many seconds.
    """

    begin_within: timedelta
    change_wait: float
    list_wait: float


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    authenticator: Authenticator
    limiter: RateLimiter
    rules: Rules
    operations: OperationRules
    waiters: Waiters
    rates: dict[str, int]
    """Requests a minute by verb."""
    broker_away: timedelta
    """How long the broker may be away before new backups and operations are refused."""
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

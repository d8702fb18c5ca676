"""Whether what is asked for can reach an agent soon."""

from __future__ import annotations

from backup_agent.api import faults
from backup_agent.api.catalogue import presence
from backup_agent.api.services import Services


def refuse_without_broker(known: Services) -> None:
    """Raises Fault (503) when the broker has been away past the bound; before, commands wait in the outbox."""
    now = known.now()
    with known.database.reading() as connection:
        found = presence.look(connection, now)
    if found.seen is not None and now - found.seen > known.broker_away:
        raise faults.unavailable("The agents can't be reached at the moment. Try again later.")

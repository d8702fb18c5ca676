"""Whether commands can go out: each relay writes down now and then whether it has a connection to the broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.tables import relay

BEAT_EVERY_S = 2.0
_STALE = timedelta(seconds=10)
"""A relay that has not written for so long is not there."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Of the best of all relays. `seen`: when one last had a connection; None when there never was any relay."""

    connected: bool
    seen: datetime | None


def tell(database: Database, name: str, now: datetime, *, connected: bool) -> None:
    """Raises CatalogueError. A relay's first word counts as a connection, or a new one would be away for ever."""

    def work(connection: Connection) -> None:
        values = {"connected": connected, "beat": now, **({"seen": now} if connected else {})}
        changed = connection.execute(update(relay).where(relay.c.name == name).values(values))
        if changed.rowcount == 0:
            connection.execute(insert(relay).values({"name": name, "seen": now, **values}))

    database.write(work, again_if_not_unique=True)


def look(connection: Connection, now: datetime) -> Presence:
    rows = connection.execute(_ALL).all()
    return Presence(
        connected=any(row.connected and row.beat > now - _STALE for row in rows),
        seen=max((row.seen for row in rows), default=None),
    )


_ALL = select(relay.c.connected, relay.c.seen, relay.c.beat)

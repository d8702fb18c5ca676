"""Writes down when agents were heard of, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, update

from backup_agent.api.catalogue.many import ForMany
from backup_agent.api.catalogue.tables import backups, instances
from backup_agent.api.relay.hearing import AgentTold


def hear(connection: Connection, beats: dict[str, AgentTold], others: Iterable[str], now: datetime) -> None:
    """Also whoever tells of a backup is there. A heartbeat names what the agent is working on: that goes on, too."""
    if beats:
        rows = [
            {
                "which": beat.instance_id,
                "now": now,
                "agent": beat.agent_version,
                "engine": beat.engine_version,
                "server": beat.server_version,
            }
            for beat in sorted(beats.values(), key=lambda beat: beat.instance_id)
        ]
        connection.execute(_BEATS, rows)
    working = [
        {"job": beat.job, "which": beat.instance_id, "now": now} for beat in beats.values() if beat.job is not None
    ]
    if working:
        connection.execute(_WORKING, sorted(working, key=lambda one: str(one["job"])))
    silent = sorted(set(others) - beats.keys())
    if silent:
        connection.execute(_HEARD.on(connection), {"ids": silent, "now": now})


_BEATS = (
    update(instances)
    .where(instances.c.id == bindparam("which"))
    .values(
        heard=bindparam("now"),
        agent_version=bindparam("agent"),
        engine_version=bindparam("engine"),
        server_version=bindparam("server"),
    )
)
_WORKING = (
    update(backups)
    .where(backups.c.id == bindparam("job"), backups.c.instance_id == bindparam("which"))
    .values(heard=bindparam("now"))
)
_HEARD = ForMany(lambda among: update(instances).where(among(instances.c.id)).values(heard=bindparam("now")))

"""Writes down when agents were heard of, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, case, null, update

from backup_agent.api.catalogue.many import ForMany
from backup_agent.api.catalogue.tables import Moment, backups, instances
from backup_agent.api.relay.hearing import AgentTold


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat. `time` is the agent's."""

    time: datetime
    told: AgentTold


def hear(connection: Connection, beats: dict[str, Beat], others: Iterable[str], now: datetime) -> None:
    """`beats` are by instance. Also whoever tells of a backup is there. A heartbeat names what the agent is working on:
    that goes on, too.
    """
    if beats:
        rows = [
            {
                "which": instance_id,
                "now": now,
                "agent": beat.told.agent_version,
                "engine": beat.told.engine_version,
                "server": beat.told.server_version,
                "running_at": beat.time if beat.told.server_running else None,
            }
            for instance_id, beat in sorted(beats.items())
        ]
        connection.execute(_BEATS, rows)
    working = [
        {"job": beat.told.job, "which": instance_id, "now": now}
        for instance_id, beat in beats.items()
        if beat.told.job is not None
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
        # What was seen before the stop says nothing. By the agent's clock both, and null is later than nothing.
        stopped=case((instances.c.stopped < bindparam("running_at", type_=Moment), null()), else_=instances.c.stopped),
    )
)
_WORKING = (
    update(backups)
    .where(backups.c.id == bindparam("job"), backups.c.instance_id == bindparam("which"))
    .values(heard=bindparam("now"))
)
_HEARD = ForMany(lambda among: update(instances).where(among(instances.c.id)).values(heard=bindparam("now")))

"""Whether a server continues the data a parent was taken from. mariadb-backup does not notice when it does not.

Three kinds of evidence, each able to refuse: the identities of the files (domain.lineage), the LSN, and the bytes of
the binary log up to the parent's position. Where there is no such log, a restart since the parent leaves room for a
data directory that was put back in place, which nothing else tells; that is refused unless the operator allows it.
"""

from __future__ import annotations

from collections.abc import Callable

from backup_agent.domain import lineage
from backup_agent.domain.manifest import BinlogPosition, Manifest, SealedManifest
from backup_agent.engine.interface import EngineVersion, series
from backup_agent.errors import EngineError, ErrorCode, RejectedError
from backup_agent.instance.interface import Facts

_TAKE_A_FULL = "Take a full backup: an incremental of other data would restore to corrupt tables."


def check_continuity(
    parent: SealedManifest,
    facts: Facts,
    engine: EngineVersion,
    binlog_digest: Callable[[BinlogPosition], str | None],
    *,
    allow_unproven: bool,
) -> None:
    """Raises RejectedError (`lineage_changed`, `lsn_behind_parent`, `lineage_unproven`) or EngineError
    (`engine_version`) unless `facts` continue the parent's data.
    """
    before = parent.manifest
    _check_engine(before, engine, facts)
    changes = list(lineage.differences(before.lineage, facts.lineage))
    found = binlog_digest(before.binlog) if before.binlog and before.binlog_digest else None
    if before.binlog and found is not None and found != before.binlog_digest:
        changes.append(f"{before.binlog.file} is not the binary log that was written then")
    if changes:
        raise RejectedError(
            ErrorCode.LINEAGE_CHANGED,
            f"the data directory is not the one backup {before.id} was taken from: {'; '.join(changes)}",
            _TAKE_A_FULL,
        )
    # Not to_lsn, which is that of a checkpoint: a server put back to a point after it would pass.
    if facts.lsn < before.lsn.last_lsn:
        raise RejectedError(
            ErrorCode.LSN_BEHIND_PARENT,
            f"the server is at LSN {facts.lsn}, before LSN {before.lsn.last_lsn} of backup {before.id}",
            f"The server was rebuilt or restored since. {_TAKE_A_FULL}",
        )
    if found is None and facts.started != before.server_started and not allow_unproven:
        raise RejectedError(
            ErrorCode.LINEAGE_UNPROVEN,
            f"the server was started since backup {before.id}, and without the binary log of that time nothing proves "
            "that its data directory was not put back in between",
            "Take a full backup; or, if you know that it was not, set instance.allow_unproven_lineage = true. "
            "With log_bin on, a restart needs neither.",
        )


def _check_engine(before: Manifest, engine: EngineVersion, facts: Facts) -> None:
    then = (before.engine.name, before.engine.datastore, series(before.engine.server_version))
    now = (engine.name, facts.datastore, series(facts.version))
    if then != now:
        raise EngineError(
            ErrorCode.ENGINE_VERSION,
            f"backup {before.id} was taken by {then[0]} of {then[1]} {then[2]}, the next would be by {now[0]} of "
            f"{now[1]} {now[2]}; a chain can't be prepared across versions",
            "Take a full backup.",
        )

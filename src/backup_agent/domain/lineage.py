"""Whether a data directory is still the one an earlier backup was taken from.

mariadb-backup does not notice when it is not: an incremental of another or a rebuilt server prepares with `completed
OK!` and gives corrupt indexes (design, section 4, invariant 3). So each backup records what tells one life of a data
directory from another, and an incremental compares before it starts.
"""

from __future__ import annotations

import re

from backup_agent.domain.frozen import Frozen


class SystemTablespace(Frozen):
    """The file identity of ibdata1: a copy, a restore or a rebuild has another inode or another file system."""

    inode: int
    generation: int | None = None
    """Tells two files apart that had the same inode number one after the other, as `rm` and `cp` on ext4 give them;
    None where the file system tells none."""
    filesystem: str


class Lineage(Frozen):
    server_id: int
    aria_uuid: str | None
    """From aria_log_control (MariaDB); None where there is no such file (MySQL)."""
    server_uuid: str | None
    """`@@server_uuid` (MySQL); None on MariaDB."""
    system_tablespace: SystemTablespace
    restore_id: str | None
    """Written into every data directory `backup-agent restore` makes, so that each restore begins a new lineage."""
    binlog_file: str | None
    """The current binary log's name, None when binary logging is off."""
    gtid_binlog_state: str
    """MariaDB's `@@gtid_binlog_state`, sorted; empty without a binary log."""


def differences(parent: Lineage, now: Lineage) -> tuple[str, ...]:
    """What shows that `now` does not continue `parent`, in words for the operator; empty when it does.

    The file identities must be equal; GTID state and binary log name must have gone forward only.
    """
    found: list[str] = []
    if parent.server_id != now.server_id:
        found.append(f"server_id was {parent.server_id}, is {now.server_id}")
    if parent.aria_uuid != now.aria_uuid:
        found.append(f"aria_log_control's UUID was {parent.aria_uuid}, is {now.aria_uuid}")
    if parent.server_uuid != now.server_uuid:
        found.append(f"server_uuid was {parent.server_uuid}, is {now.server_uuid}")
    if parent.system_tablespace != now.system_tablespace:
        found.append("ibdata1 is another file: the data directory was copied, restored or rebuilt")
    if parent.restore_id != now.restore_id:
        found.append("the data directory was restored from a backup since")
    found.extend(_binlog_differences(parent, now))
    return tuple(found)


def _binlog_differences(parent: Lineage, now: Lineage) -> list[str]:
    if parent.binlog_file is None:
        return []
    if now.binlog_file is None:
        return ["binary logging was on and is off"]
    before, after = _split_binlog(parent.binlog_file), _split_binlog(now.binlog_file)
    if before[0] != after[0]:
        return [f"the binary log was {parent.binlog_file}, is {now.binlog_file}"]
    if before[1] > after[1]:
        return [f"the binary log went back from {parent.binlog_file} to {now.binlog_file}"]
    ahead = _gtids(parent.gtid_binlog_state)
    here = _gtids(now.gtid_binlog_state)
    lost = [origin for origin, sequence in ahead.items() if here.get(origin, -1) < sequence]
    return [f"GTIDs of {', '.join(sorted(lost))} that the parent knows are gone"] if lost else []


def _split_binlog(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*)\.(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _gtids(state: str) -> dict[str, int]:
    """`0-1-10,0-2-7` as {"0-1": 10, "0-2": 7}: the last sequence number by domain and server."""
    result: dict[str, int] = {}
    for gtid in filter(None, (part.strip() for part in state.split(","))):
        origin, _, sequence = gtid.rpartition("-")
        result[origin] = int(sequence)
    return result

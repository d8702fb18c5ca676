"""Manifests for tests: everything plausible, every field replaceable."""

from __future__ import annotations

from typing import Any

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.lineage import Lineage, SystemTablespace
from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.manifest import (
    BackupType,
    BinlogPosition,
    Chunk,
    Compression,
    EngineFacts,
    File,
    LsnRange,
    Manifest,
    Totals,
)

LINEAGE = Lineage(
    server_id=1,
    aria_uuid="8592ff3ce76e11f19d7e02fc00000001",
    server_uuid=None,
    system_tablespace=SystemTablespace(inode=42, filesystem="abc"),
    restore_id=None,
    binlog_file="bin.000003",
    gtid_binlog_state="0-1-10",
)


def manifest_of(place: BackupPlace, **fields: Any) -> Manifest:
    """The manifest of the backup at `place`, with `fields` instead of the defaults."""
    chunk = Chunk(raw_size=100, stored_size=50, sha256="0" * 64)
    values: dict[str, Any] = {
        "format": 2,
        "agent_version": "0.1.0",
        "id": place.backup_id,
        "name": "nightly",
        "description": None,
        "instance_id": place.instance_id,
        "account_id": "1234",
        "type": BackupType.FULL,
        "parent": None,
        "lineage": LINEAGE,
        "server_started": 1_795_000_000,
        "engine": EngineFacts(
            name="mariadb-backup",
            version="10.11.6-MariaDB",
            server_version="10.11.6-MariaDB-log",
            datastore="mariadb",
            data_at_rest_encryption=False,
        ),
        "lsn": LsnRange(from_lsn=0, to_lsn=1000, last_lsn=2000),
        "binlog": BinlogPosition(file="bin.000003", position=400, gtid="0-1-10"),
        "binlog_digest": "2" * 64,
        "replication_source": None,
        "nontransactional_bytes": 0,
        "newest_tablespace": 7,
        "files": (File(path="ibdata1", size=90),),
        "chunks": (chunk,),
        "totals": Totals(raw_size=100, stored_size=50, raw_sha256="1" * 64),
        "compression": Compression(algorithm="zstd", level=1),
        "encryption": None,
        "locks": LockWindow(innodb_ms=9, nontransactional_ms=30, stages_ms={"FLUSH": 7}),
        "started": "2026-11-23T19:17:52.054Z",
        "finished": "2026-11-23T19:17:53.266Z",
    }
    return Manifest(**{**values, **fields})

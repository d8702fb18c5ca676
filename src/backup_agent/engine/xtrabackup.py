"""The dialect of Percona XtraBackup 8 for MySQL 8 and Percona Server.

Written from its documentation; it has not been run against a real one. It differs in its names, in the locks it takes
(LOCK TABLES/INSTANCE/BINLOG FOR BACKUP instead of BACKUP STAGE) and in needing --apply-log-only between links.
"""

from __future__ import annotations

import re

from backup_agent.engine.dialect import Dialect
from backup_agent.engine.stages import StageNames

XTRABACKUP = Dialect(
    name="xtrabackup",
    binary="xtrabackup",
    stream_binary="xbstream",
    stream_format="xbstream",
    version=re.compile(r"xtrabackup version (\S+)"),
    stages=StageNames(
        mention=re.compile(
            r"Executing (LOCK TABLES FOR BACKUP|LOCK INSTANCE FOR BACKUP|"
            r"FLUSH TABLES WITH READ LOCK|LOCK BINLOG FOR BACKUP)"
        ),
        nontransactional="LOCK TABLES FOR BACKUP",
        frozen=None,
        innodb="LOCK BINLOG FOR BACKUP",
        copying=re.compile(r"Copying |Streaming "),
        released=re.compile(r"All tables unlocked"),
        acquired=None,
        in_use=None,
        in_use_listed=None,
        nearly=None,
    ),
    apply_log_only=True,
    routine=None,
    failures=(
        (
            re.compile(
                r"log block numbers mismatch|try increasing (the )?innodb_(redo_log_capacity|log_file_size)",
                re.IGNORECASE,
            ),
            "redo",
        ),
        (
            re.compile(r"DDL (operation|has been performed)|An optimized \(without redo logging\) DDL", re.IGNORECASE),
            "ddl",
        ),
        (re.compile(r"Access denied|missing required privilege"), "denied"),
    ),
    ddl_met=None,
)

"""The dialect of mariadb-backup 10.5 and later (BACKUP STAGE). Seen working with 10.11."""

from __future__ import annotations

import re

from backup_agent.engine.dialect import Dialect
from backup_agent.engine.stages import StageNames

MARIADB_BACKUP = Dialect(
    name="mariadb-backup",
    binary="mariadb-backup",
    stream_binary="mbstream",
    stream_format="mbstream",
    version=re.compile(r"based on MariaDB server (\S+)"),
    stages=StageNames(
        mention=re.compile(r"BACKUP STAGE ([A-Z_]+)"),
        nontransactional="FLUSH",
        innodb="BLOCK_COMMIT",
        copying=re.compile(r"Acquired locks for BACKUP STAGE START"),
        released=re.compile(r"All tables unlocked"),
        acquired=re.compile(r"Acquired locks for BACKUP STAGE ([A-Z_]+)"),
        in_use=re.compile(r"Table ([^.]+)\.(.+) is in use$"),
        in_use_listed=re.compile(r"Start scanning common engine tables"),
        nearly=re.compile(r"Start copying aria log file tail"),
    ),
    apply_log_only=False,
    failures=(
        (re.compile(r"Was only able to copy log|Try increasing the innodb_log_file_size"), "redo"),
        (
            re.compile(
                r"Can't handle DDL|DDL operation detected|DDL log|An optimized \(without redo logging\) DDL"
                r"|BACKUP STAGE [A-Z_]+: Deadlock found|Error 2 on file \S+ open during .+ table copy"
            ),
            "ddl",
        ),
        (re.compile(r"Access denied|missing required privilege"), "denied"),
        (re.compile(r"\[ERROR\]|\bError \d+ on file|: Got error '"), "error"),
    ),
)

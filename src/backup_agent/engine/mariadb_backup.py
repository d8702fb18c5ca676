"""The dialect of mariadb-backup 10.5 and later (BACKUP STAGE). Seen working with 10.11."""

from __future__ import annotations

import re

from backup_agent.engine.dialect import Dialect
from backup_agent.engine.stages import StageNames

_UNFINISHED = (
    # It repeats the DDL that met its copies on them, by the server's ddl.log. Where that fails, it leaves out the rest
    # and goes on to say OK.
    r"Failed to (?:re-copy|remove) \S+\.$",
    r"Failed to rename \S+ to \S+\.$",
    r"DDL log file \S+ (?:open failed|read error)",
)
_DDL = (
    # what it says of DDL by name, --prepare too
    r"Can't handle DDL",
    r"DDL operation detected",
    r"DDL log",
    r"An optimized \(without redo logging\) DDL",
    # a lock against DDL that it did not get; its lock of one table conflicts with nothing else
    r"BACKUP STAGE [A-Z_]+: Deadlock found",
    r"failed to execute query BACKUP (?:UN)?LOCK\b",
    r"Error on .*BACKUP (?:UN)?LOCK",
    # files and databases that were there when it listed them
    r"Error 2 on file \S+ open during .+ table copy",
    r"Error on file \S+ open during .+ log table copy",
    r"Error on \.frm file open for log table",
    r"Operating system error number 2 in a file operation",
    r"Can't open dir \S+",
    r"Can not open directory \S+: No such file",
    r"was not found, but expected during rename",
    # a file of a partitioned table that it could not open, which it notices no earlier (9), or a page of Aria's files
    # while they are made anew (126 crashed, 176 checksum)
    r"error: aria_read \S+ from \S+ failed with error (?:9|126|176)\b",
)
_NOT_DDL = (
    r"No space left on device",
    r"Broken pipe",
    r"Lost connection",
    r"server has gone away",
    r"(?:Failed to|Can't) connect",
    r"seems to be corrupted",
    r"Input/output error",
    r"Too many open files",
    r"Permission denied",
    r"(?:[Ee]rror(?: number)?|errno:|Errcode:) (?:5|12|13|24|28)\b",
)

MARIADB_BACKUP = Dialect(
    name="mariadb-backup",
    binary="mariadb-backup",
    stream_binary="mbstream",
    stream_format="mbstream",
    version=re.compile(r"based on MariaDB server (\S+)"),
    stages=StageNames(
        mention=re.compile(r"BACKUP STAGE ([A-Z_]+)"),
        nontransactional="FLUSH",
        frozen="BLOCK_DDL",
        innodb="BLOCK_COMMIT",
        copying=re.compile(r"Acquired locks for BACKUP STAGE START"),
        released=re.compile(r"All tables unlocked"),
        acquired=re.compile(r"Acquired locks for BACKUP STAGE ([A-Z_]+)"),
        in_use=re.compile(r"Table ([^.]+)\.(.+) is in use$"),
        in_use_listed=re.compile(r"Start scanning common engine tables"),
        nearly=re.compile(r"Start copying aria log file tail"),
    ),
    apply_log_only=False,
    routine=re.compile(r"\[\d+\] \S+ \S+ (?:Copied file |Skip table |Streaming |Copying | +\.\.\.done$)"),
    failures=(
        (re.compile(r"Was only able to copy log|Try increasing the innodb_log_file_size"), "redo"),
        (re.compile("|".join(_NOT_DDL)), "other"),
        (re.compile("|".join(_UNFINISHED)), "unfinished"),
        (re.compile("|".join(_DDL)), "ddl"),
        (re.compile(r"Access denied|missing required privilege"), "denied"),
        (re.compile(r"FATAL ERROR: "), "fatal"),
        (re.compile(r"\[ERROR\]|\b[Ee]rror: |\b[Ee]rror (?:\d+ )?on (?!aria table)|: Got error '"), "error"),
    ),
    ddl_met=re.compile(
        r"DDL tracking : |We assume the\s+table was dropped|Can't find file: '\./.*\(errno: 2 |Error on aria table"
    ),
)

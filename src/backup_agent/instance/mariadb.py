"""Facts of a MariaDB or MySQL server, by SQL and from its data directory. Implements instance.interface.Instance."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from backup_agent.domain.manifest import BinlogPosition
from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance import binlog, blocker_search, grants
from backup_agent.instance.access import elsewhere, unreadable
from backup_agent.instance.blockers import Blocker
from backup_agent.instance.connection import Endpoint, Session
from backup_agent.instance.datadir import measure
from backup_agent.instance.identity import read_lineage, system_tablespace_files
from backup_agent.instance.interface import Facts
from backup_agent.instance.table_files import Files, TableFile, read_table_files

Variables = Mapping[str, str]

_NAMES_CHANGED = (8, 4)
"""The first MySQL without SHOW MASTER STATUS and SHOW SLAVE STATUS."""
_ENCRYPTING = (
    "innodb_encrypt_tables",
    "innodb_encrypt_log",
    "aria_encrypt_tables",
    "default_table_encryption",
    "innodb_redo_log_encrypt",
)
_KEY_PLUGINS = """
    SELECT COUNT(*) FROM information_schema.PLUGINS
    WHERE PLUGIN_STATUS = 'ACTIVE' AND (PLUGIN_TYPE = 'ENCRYPTION' OR PLUGIN_NAME LIKE 'keyring%')
"""
_NEWEST_TABLESPACE = """
    SELECT MAX(SPACE) FROM information_schema.INNODB_SYS_TABLESPACES
    WHERE SPACE < 0xFFFF0000 -- the ids above are InnoDB's own: that of temporary tables is one
"""
_OTHER_CONNECTIONS = """
    SELECT ID FROM information_schema.PROCESSLIST
    WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) AND ID <> CONNECTION_ID()
"""


class MariaDBInstance:
    """Holds no connection between calls; safe from any thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def facts(self) -> Facts:
        with Session(self._endpoint) as session:
            variables = _variables(session)
            datadir = self._datadir(session, variables)
            sizes = measure(datadir, system_tablespace_files(datadir, variables))
            return Facts(
                version=variables["version"],
                datastore=_datastore(variables),
                datadir=datadir,
                lineage=read_lineage(datadir, variables, _binlog_file(session, variables)),
                lsn=_lsn(session),
                replica=_is_replica(session, variables, datadir),
                galera=_is_galera(variables),
                data_at_rest_encryption=_encrypts(session, variables),
                nontransactional_bytes=sizes.nontransactional,
                started=_started(session, _datastore(variables)),
                datadir_bytes=sizes.total,
                newest_tablespace=_newest_tablespace(session, variables),
            )

    def table_files(self, datadir: Path, which: Files = Files.ALL) -> dict[str, TableFile]:
        return read_table_files(datadir, which)

    def missing_grants(self, *, replica: bool, kill: bool = False) -> tuple[str, ...]:
        with Session(self._endpoint) as session:
            variables = _variables(session)
            return grants.missing(
                [str(row[0]) for row in session.rows("SHOW GRANTS")],
                datastore=_datastore(variables),
                series=_series(variables),
                replica=replica,
                kill=kill,
            )

    def binlog_digest(self, position: BinlogPosition) -> str | None:
        with Session(self._endpoint) as session:
            basename = _variables(session).get("log_bin_basename", "")
        return binlog.digest(Path(basename).parent / position.file, position.position) if basename else None

    def connections(self) -> frozenset[int]:
        with Session(self._endpoint) as session:
            return frozenset(int(row[0]) for row in session.rows(_OTHER_CONNECTIONS))

    def blockers(self, datadir: Path) -> tuple[Blocker, ...]:
        with Session(self._endpoint) as session:
            return blocker_search.find_blockers(session, datadir)

    def kill_query(self, blocker: Blocker) -> bool:
        with Session(self._endpoint) as session:
            return blocker_search.kill_query(session, blocker)

    def _datadir(self, session: Session, variables: Variables) -> Path:
        """Real path. Another host's may have the same name as one of ours, hence the look at the connection."""
        said = Path(variables["datadir"])
        if not session.on_this_host:
            raise elsewhere(said, self._endpoint.place)
        try:
            return Path(os.path.realpath(said, strict=True))
        except FileNotFoundError as error:
            raise elsewhere(said, self._endpoint.place) from error
        except OSError as error:
            raise unreadable(said, error) from error


def _started(session: Session, datastore: str) -> int:
    """One statement has one time, so the difference is exact."""
    schema = "information_schema" if datastore == "mariadb" else "performance_schema"
    return int(
        session.rows(
            f"SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM {schema}.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'"  # noqa: S608 - one of two constants
        )[0][0]
    )


def _variables(session: Session) -> dict[str, str]:
    """All global ones by name: those that a flavour or version does not have are simply absent."""
    return {str(name).lower(): str(value) for name, value in session.rows("SHOW GLOBAL VARIABLES")}


def _datastore(variables: Variables) -> Literal["mariadb", "mysql"]:
    named = variables["version"] + variables.get("version_comment", "")
    return "mariadb" if "mariadb" in named.lower() else "mysql"


def _series(variables: Variables) -> tuple[int, ...]:
    """`10.11.6-MariaDB` as (10, 11)."""
    return tuple(int(part) for part in re.findall(r"\d+", variables["version"])[:2])


def _speaks_of_sources(variables: Variables) -> bool:
    return _datastore(variables) == "mysql" and _series(variables) >= _NAMES_CHANGED


def _binlog_file(session: Session, variables: Variables) -> str | None:
    """The name of the current binary log, None when there is none."""
    if variables["log_bin"] != "ON":
        return None
    rows = session.rows("SHOW BINARY LOG STATUS" if _speaks_of_sources(variables) else "SHOW MASTER STATUS")
    return str(rows[0][0]) if rows else None


def _lsn(session: Session) -> int:
    """Where the log ends now: MariaDB has a status variable, MySQL only tells it in InnoDB's monitor."""
    if rows := session.rows("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'"):
        return int(rows[0][1])
    monitor = str(session.records("SHOW ENGINE INNODB STATUS")[0]["Status"])
    return parse_lsn(monitor)


def _newest_tablespace(session: Session, variables: Variables) -> int:
    """0 on MySQL, where nobody asks for it yet."""
    if _datastore(variables) == "mysql":
        return 0
    return int(session.rows(_NEWEST_TABLESPACE)[0][0] or 0)


def parse_lsn(monitor: str) -> int:
    """From the text of SHOW ENGINE INNODB STATUS. Raises InstanceError when it does not hold one."""
    match = re.search(r"^Log sequence number\s+(\d+)", monitor, re.MULTILINE)
    if match is None:
        raise InstanceError(
            ErrorCode.DATABASE_UNREACHABLE,
            "the server does not tell InnoDB's log sequence number",
            "See that InnoDB is enabled: SHOW ENGINE INNODB STATUS.",
        )
    return int(match[1])


def _is_replica(session: Session, variables: Variables, datadir: Path) -> bool:
    """Whether a source is configured, running or not. Without SLAVE MONITOR the files of the connections tell."""
    if _datastore(variables) == "mysql":
        statement = "SHOW REPLICA STATUS" if _speaks_of_sources(variables) else "SHOW SLAVE STATUS"
        return bool(session.rows(statement))
    try:
        return bool(session.rows("SHOW ALL SLAVES STATUS"))
    except InstanceError as error:
        if error.code is not ErrorCode.GRANT_MISSING:
            raise
    # master.info or, for a named connection, master-NAME.info: made by CHANGE MASTER, removed by RESET SLAVE ALL.
    return any(datadir.glob("master*.info"))


def _is_galera(variables: Variables) -> bool:
    return variables.get("wsrep_on") == "ON" and variables.get("wsrep_provider", "none") not in {"", "none"}


def _encrypts(session: Session, variables: Variables) -> bool:
    """Also true when a key plugin is merely loaded: single tables may be encrypted, and prepare needs its keys."""
    switched_on = any(variables.get(name, "OFF") not in {"OFF", "0", ""} for name in _ENCRYPTING)
    return switched_on or int(session.rows(_KEY_PLUGINS)[0][0]) > 0

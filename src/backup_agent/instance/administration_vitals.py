"""Whether the server runs, since when, and whether the operations on it may do their work. Implements Vitals."""

from __future__ import annotations

import socket

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance import administration_grants
from backup_agent.instance.connection import Endpoint, Session

_PROBE_SECONDS = 5.0
_STARTED = (
    "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'"
)
"""One statement has one time, so the difference is exact."""


class ServerVitals:
    """Safe from any thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def started(self) -> int | None:
        try:
            with Session(self._endpoint) as session:
                return int(session.rows(_STARTED)[0][0])
        except InstanceError as error:
            if error.code is not ErrorCode.DATABASE_UNREACHABLE:
                raise
            return None

    def listens(self) -> bool:
        endpoint = self._endpoint
        family = socket.AF_UNIX if endpoint.socket else socket.AF_INET
        try:
            if endpoint.socket is None:
                socket.create_connection((endpoint.host, endpoint.port), _PROBE_SECONDS).close()
                return True
            with socket.socket(family) as probe:
                probe.settimeout(_PROBE_SECONDS)
                probe.connect(str(endpoint.socket))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # a full backlog, a time-out: somebody is there
            return True
        return True

    def missing_grants(self) -> tuple[str, ...]:
        with Session(self._endpoint) as session:
            version = str(session.rows("SELECT VERSION()")[0][0])
            if "mariadb" not in version.lower():
                raise InstanceError(
                    ErrorCode.ADMINISTRATION_UNAVAILABLE,
                    f"the server is of version {version}; operations on the instance are for MariaDB",
                    "Set administration.enabled = false.",
                )
            return administration_grants.missing(str(row[0]) for row in session.rows("SHOW GRANTS"))

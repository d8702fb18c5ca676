"""The agent's operations within the test's own process: where many are wanted, and the command line is not at stake."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from backup_agent.app.wiring import for_backups, open_journal, wire
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import load
from backup_agent.domain.command import BackupRequest, CreateBackup
from backup_agent.domain.verification import Level, Verification
from backup_agent.journal.interface import Origin
from backup_agent.operations.backup import create_backup
from backup_agent.operations.job import Asked
from backup_agent.operations.verify import VerifyRequest, verify
from backup_agent.report.log import LogReporter
from backup_agent.stream.identity import Identity
from tests.agent import ACCOUNT, Agent

SMALL_INSTANCE: Mapping[str, str | int] = {
    "innodb-log-file-size": "4M",
    "innodb-data-file-path": "ibdata1:5M:autoextend",
    "innodb-autoextend-increment": 1,
}
"""A server whose empty data directory has 20 MB instead of 120 MB."""
SMALL_SERVER = ["--innodb-log-file-size=4M", "--innodb-temp-data-file-path=ibtmp1:1M:autoextend"]
"""The same of the private server of a verification."""


def take_backups(agent: Agent) -> Generator[dict[str, Any]]:
    """A full one, then incrementals, each taken when it is asked for. Close it."""
    config = load(agent.config_file)
    with closing(open_journal(config)) as journal:
        services = for_backups(wire(config, LogReporter()), config, journal)
        incremental = False
        while True:
            request = BackupRequest(
                id=str(uuid.uuid4()),
                name="taken in process",
                instance_id=agent.instance_id,
                account_id=ACCOUNT,
                incremental=incremental,
            )
            yield create_backup(
                CreateBackup(backup=request), Asked(Origin.RUN_ONCE), services, Cancellation(), Cancellation()
            )
            incremental = True


def verify_here(
    agent: Agent, backup_id: str, level: Level, *, each: bool = False, identities: tuple[Identity, ...] = ()
) -> tuple[Verification, ...]:
    request = VerifyRequest(backup_id, level, each=each, identities=identities)
    found = verify(request, wire(load(agent.config_file), LogReporter()), Cancellation(), lambda _: None)
    return tuple(one.verification for one in found)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """One that a server can reach which runs as another user than root: pytest's directories are for one user alone."""
    path = Path(tempfile.mkdtemp(prefix="verify-", dir="/tmp"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)

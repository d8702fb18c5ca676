"""What a command that was refused, failed or interrupted must not leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psutil

from backup_agent.errors import BusyError
from backup_agent.instance.lock import InstanceLock, LockHolder
from tests.agent import Agent
from tests.faults.agents import ConfinedAgent
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_USER, PrivateMariaDB


def contents(directory: Path) -> dict[str, str]:
    """The digest of every file below `directory`, temporary ones included, by its path."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest() for path in files}


def processes(agent: Agent) -> list[str]:
    """The command lines of the agent's processes and of all that they started."""
    return [" ".join(words) for words in _command_lines() if any(str(agent.base) in word for word in words)]


def _command_lines() -> Iterator[list[str]]:
    for process in psutil.process_iter():
        try:
            yield process.cmdline()
        except psutil.Error:  # ended since it was listed
            continue


def lock_is_free(agent: Agent) -> bool:
    try:
        with InstanceLock(agent.runtime_dir, agent.instance_id).acquire(
            LockHolder.here("test", None, datetime.now(UTC))
        ):
            return True
    except BusyError:
        return False


def connections(server: PrivateMariaDB) -> list[int]:
    """Those of the agent's database user."""
    rows = server.query("SELECT id FROM information_schema.PROCESSLIST WHERE user = %s", (AGENT_USER,))
    return [int(row[0]) for row in rows]


def writers_are_free(server: PrivateMariaDB) -> bool:
    """Whether rows can be inserted into the shop's tables at once."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_wait_timeout = 2, innodb_lock_wait_timeout = 2")
        return all(cursor.execute(f"INSERT INTO shop.{table} () VALUES ()") == 1 for table in ("orders", "notes"))


@contextmanager
def nothing_left_behind(agent: ConfinedAgent, server: PrivateMariaDB | None = None) -> Iterator[None]:
    """Fails unless the store is as it was, and no process, lock, temporary file or connection stays.

    With `server`, which has the shop, its tables must also be free for writers.
    """
    before = contents(agent.store)
    yield
    assert processes(agent) == []
    assert contents(agent.store) == before
    assert lock_is_free(agent)
    assert [path.name for path in agent.runtime_dir.glob("*") if path.suffix != ".lock"] == []
    assert list(agent.temporary.iterdir()) == []
    if server is not None:
        until(lambda: not connections(server), "the end of the agent's connections")
        assert writers_are_free(server)

"""What a backup may do to writers: for how long, who is in its way, and what ends it when something stands still."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pymysql
import pytest

from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import nothing_left_behind, writers_are_free
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_USER, PrivateMariaDB

pytestmark = [pytest.mark.server, pytest.mark.alone]


def agent_with(base: Path, server: PrivateMariaDB, **locks: object) -> ConfinedAgent:
    """What stands still on a busy host goes on, unless `locks` say that it is not to."""
    return ConfinedAgent(base / "agent", server, extra={**SMALL_CHUNKS, "locks": {"standstill_s": 60, **locks}})


def lasting(server: PrivateMariaDB) -> None:
    """Returns when the long statement is no longer one of a moment."""
    running = "SELECT 1 FROM information_schema.PROCESSLIST WHERE info LIKE 'UPDATE shop.notes%' AND time_ms > 1200"
    until(lambda: server.query(running), "a statement that lasts")


def engine_of(running: Running) -> psutil.Process:
    """The engine's process, which the agent has started."""
    children = psutil.Process(running.pid).children()
    return next(child for child in children if "--backup" in child.cmdline())


def test_a_lock_that_lasts_too_long_is_given_up(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, on_blocker="wait", max_lock_seconds=1)
    with nothing_left_behind(agent, shop):
        with notes_are_written(shop) as release, Running(agent, "run-once") as running:
            outcome = running.end()
            release()
        refused(outcome, "lock_budget_exceeded", "engine", "more than the 1 s that are allowed")
    agent.with_config("max_lock_seconds = 1", "max_lock_seconds = 60")  # on a busy host even this one may need longer
    assert agent.backup()["status"] == "COMPLETED"


def test_an_engine_that_somebody_stopped_does_not_keep_its_locks(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, on_blocker="wait", standstill_s=3)
    with nothing_left_behind(agent, shop):
        with notes_are_written(shop) as release, Running(agent, "run-once") as running:
            running.await_word("backup.progress", phase="blocking")
            engine = engine_of(running)

            def stopped_for_good() -> bool:
                """The agent itself lets an engine go on that it held before the locks: that may come after our stop."""
                with suppress(psutil.NoSuchProcess):
                    engine.suspend()
                return running.ended

            until(stopped_for_good, "the end")
            outcome = running.end()
            release()
        refused(outcome, "engine_stalled", "engine", "the engine was stopped by a signal")


def test_an_agent_that_somebody_stopped_does_not_keep_its_engines_locks(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, on_blocker="wait", standstill_s=2)
    with nothing_left_behind(agent, shop):
        with notes_are_written(shop) as release, Running(agent, "run-once") as running:
            running.await_word("backup.progress", phase="blocking")
            engine = engine_of(running)
            running.send(signal.SIGSTOP)
            until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, "the engine's end")
            release()
            until(lambda: writers_are_free(shop), "writers")
            running.send(signal.SIGCONT)
            outcome = running.end()
        refused(outcome, "engine_stalled", "engine", "stood still")
    assert agent.backup()["status"] == "COMPLETED"


def test_no_engine_starts_beside_a_statement_that_it_would_wait_for(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, blocker_wait_s=0.5)
    with nothing_left_behind(agent, shop):
        with notes_are_written(shop) as release:
            lasting(shop)
            outcome = agent.run("run-once")
            release()
        refused(outcome, "lock_blocked", "engine", "root@", "UPDATE shop.notes", "MyISAM")
        assert "locks.on_blocker" in outcome.error["hint"]
        assert outcome.events("backup.warning")
        assert not any(line.get("phase") == "copying" for line in outcome.events("backup.progress"))


def test_a_statement_that_ends_in_time_is_waited_for(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, blocker_wait_s=60)
    with notes_are_written(shop) as release:
        lasting(shop)
        with Running(agent, "run-once") as running:
            running.await_word("backup.warning")
            release()
            outcome = running.end()
    assert outcome.status == 0, outcome.stderr
    (warning,) = outcome.events("backup.warning")
    assert "UPDATE shop.notes" in warning["notice"]
    began = outcome.events("backup.progress")[0]
    assert outcome.log.index(warning) < outcome.log.index(began), "no writer waited behind the engine"


@pytest.fixture
def killer(shop: PrivateMariaDB) -> Iterator[None]:
    """The agent's user may kill, and see who may not be killed."""
    shop.execute(
        f"GRANT CONNECTION ADMIN ON *.* TO {AGENT_USER}@localhost",
        f"GRANT SELECT (User, Super_priv, is_role) ON mysql.user TO {AGENT_USER}@localhost",
        "CREATE USER writer@localhost IDENTIFIED BY 'w'",
        "GRANT ALL ON shop.* TO writer@localhost",
    )
    yield
    shop.execute(
        f"REVOKE CONNECTION ADMIN ON *.* FROM {AGENT_USER}@localhost",
        f"REVOKE SELECT (User, Super_priv, is_role) ON mysql.user FROM {AGENT_USER}@localhost",
        "DROP USER writer@localhost",
    )


@contextmanager
def written_by(server: PrivateMariaDB, user: str, password: str) -> Iterator[Callable[[], str]]:
    """A statement of `user` that writes the MyISAM table for long; yields how to learn of its end: the error's text."""
    said: list[str] = []
    sql = "UPDATE shop.notes SET what = what WHERE SLEEP(5) = 0"

    def write() -> None:
        try:
            cursor.execute(sql)
        except pymysql.err.MySQLError as error:
            said.append(str(error))

    with closing(server.connect(user, password)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchall()[0]
        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE info = %s", (sql,)), "the write")

        def result() -> str:
            thread.join(60)
            cursor.execute("SELECT 'the connection lives'")
            return said[0]

        try:
            yield result
        finally:
            with suppress(pymysql.err.MySQLError):
                server.execute(f"KILL {number}")
            thread.join(60)


@pytest.mark.usefixtures("killer")
def test_a_blocker_is_killed_where_that_is_allowed(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, blocker_wait_s=0.5, on_blocker="kill")
    with written_by(shop, "writer", "w") as result:
        lasting(shop)
        outcome = agent.run("run-once")
        assert "interrupted" in result()
    assert outcome.status == 0, outcome.stderr
    assert any("killed the statement of connection" in line["notice"] for line in outcome.events("backup.warning"))


def test_killing_is_refused_to_an_agent_that_has_no_right_to_it(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, on_blocker="kill")
    refused(
        agent.run("run-once"), "grant_missing", "instance", "CONNECTION ADMIN", "SELECT (User, Super_priv, is_role)"
    )
    assert "CONNECTION ADMIN" in agent.run("config", "check").stdout


@pytest.mark.usefixtures("killer")
def test_an_administrators_statement_is_never_killed(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = agent_with(tmp_path, shop, blocker_wait_s=0.5, on_blocker="kill")
    with nothing_left_behind(agent, shop):
        with notes_are_written(shop) as release:
            lasting(shop)
            outcome = agent.run("run-once")
            assert shop.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE info LIKE 'UPDATE shop.notes%'")
            release()
        refused(outcome, "lock_blocked", "engine", "not killed: has SUPER")


def test_a_session_that_keeps_tables_locked_is_told_of(tmp_path: Path, shop: PrivateMariaDB) -> None:
    """It is asleep, and without a plugin nobody is named; the engine waits at its first stage, and harms nobody."""
    agent = agent_with(tmp_path, shop, blocker_wait_s=1)
    with nothing_left_behind(agent, shop), closing(shop.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES shop.notes WRITE")
        outcome = agent.run("run-once")
        cursor.execute("UNLOCK TABLES")
        refused(outcome, "lock_blocked", "engine", "stage START", "metadata_lock_info")


def test_low_priority_ends_where_locks_begin(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, extra={**SMALL_CHUNKS, "engine": {"nice": 7}})
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        engine = engine_of(running)
        nicenesses = {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in engine.threads()}
        release()
        assert running.end().status == 0
    assert nicenesses == {os.getpriority(os.PRIO_PROCESS, 0)}

"""Servers whose data is not, or not any more, what the parent was taken from: mariadb-backup would not notice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.agents import ConfinedAgent
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

MINE = "CREATE TABLE IF NOT EXISTS mysql.mine (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(1024)) ENGINE=InnoDB"


class Subject:
    """A server under one base directory, stopped and started again in other circumstances, and its agent."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.server = PrivateMariaDB(base / "server").__enter__()
        create_agent_user(self.server)
        self.write(10)
        self.agent = ConfinedAgent(base / "agent", self.server)

    def write(self, rows: int) -> None:
        self.server.execute(MINE, f"INSERT INTO mysql.mine (what) SELECT RANDOM_BYTES(1024) FROM mysql.seq_1_to_{rows}")

    def restart(self, *, datadir: Path | None = None, server_id: int = 1, options: tuple[str, ...] = ()) -> None:
        """On its data directory as it is now, or on another one."""
        self.server.stop()
        self.server = PrivateMariaDB(
            self.base / "server", datadir=datadir, server_id=server_id, extra_options=options
        ).start()

    def lsn(self) -> int:
        return int(self.server.query("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")[0][1])

    def copy(self) -> Path:
        """Of the stopped server's data directory."""
        return self.server.copy_data(self.base / "copy")

    def put_back(self, copy: Path) -> None:
        """Makes the files of the data directory those of `copy`, which stay the same inodes, and removes the others."""
        for path in self.server.datadir.rglob("*"):
            earlier = copy / path.relative_to(self.server.datadir)
            if path.is_file() and earlier.exists():
                path.write_bytes(earlier.read_bytes())
            elif path.is_file():
                path.unlink()

    def refuses_an_incremental(self, code: str, *words: str) -> None:
        """And goes on with a full one."""
        with nothing_left_behind(self.agent):
            outcome = self.agent.run("run-once", "--incremental")
            refused(outcome, code, "rejected", *words)
        assert "full backup" in outcome.error["hint"]
        assert self.agent.backup()["type"] == "full"


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    subject = Subject(tmp_path)
    yield subject
    subject.server.stop()


def test_a_restart_and_a_rotated_binary_log_change_nothing(subject: Subject) -> None:
    full = subject.agent.backup()
    subject.restart()
    subject.server.execute("FLUSH BINARY LOGS")
    subject.write(10)
    child = subject.agent.backup("--incremental")
    assert child["parent_id"] == full["id"]
    subject.server.kill()
    subject.restart()
    assert subject.agent.backup("--incremental")["parent_id"] == child["id"]


def served_from_a_copy(subject: Subject) -> None:
    subject.server.stop()
    subject.restart(datadir=subject.copy())


def removed_and_copied_back(subject: Subject) -> None:
    """ext4 gives the new files the numbers of the old ones."""
    subject.server.stop()
    copy = subject.copy()
    shutil.rmtree(subject.server.datadir)
    shutil.copytree(copy, subject.server.datadir, symlinks=True)
    subject.restart()


def restored_in_place(subject: Subject) -> None:
    subject.server.destroy_data()
    newest = subject.agent.run("list", "--json").json["backups"][0]["id"]
    subject.agent.restore(newest, subject.server.datadir)
    subject.restart()


def rebuilt(subject: Subject) -> None:
    subject.server.destroy_data()
    subject.server = PrivateMariaDB(subject.base / "server").__enter__()
    create_agent_user(subject.server)


def swapped_with_another_servers(subject: Subject) -> None:
    subject.server.stop()
    with PrivateMariaDB(subject.base / "another") as another:
        create_agent_user(another)
    subject.restart(datadir=another.datadir)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (served_from_a_copy, ["ibdata1 is another file: the data directory was copied, restored or rebuilt"]),
        (removed_and_copied_back, ["ibdata1 is another file"]),
        (restored_in_place, ["ibdata1 is another file", "the data directory was restored from a backup since"]),
        (rebuilt, ["aria_log_control's UUID was", "ibdata1 is another file"]),
        (swapped_with_another_servers, ["aria_log_control's UUID was", "ibdata1 is another file"]),
    ],
)
def test_another_data_directory_is_noticed_even_with_a_higher_lsn(
    subject: Subject, change: Callable[[Subject], None], words: list[str]
) -> None:
    parent = subject.agent.backup()["id"]
    at = subject.lsn()
    change(subject)
    subject.write(2000)
    assert subject.lsn() > at
    subject.refuses_an_incremental("lineage_changed", "the data directory is not the one", parent, *words)


def its_history_reset(subject: Subject) -> None:
    subject.server.execute("RESET MASTER")


def its_rotated_history_reset(subject: Subject) -> None:
    subject.server.execute("RESET MASTER", "FLUSH BINARY LOGS")


def another_server_id(subject: Subject) -> None:
    subject.restart(server_id=2)


def no_binary_log(subject: Subject) -> None:
    subject.restart(options=("skip-log-bin",))


def another_binary_log(subject: Subject) -> None:
    subject.restart(options=("log-bin=other",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (its_history_reset, "the binary log went back from binlog.000002 to binlog.000001"),
        (its_rotated_history_reset, "GTIDs of 0-1 that the parent knows are gone"),
        (another_server_id, "server_id was 1, is 2"),
        (no_binary_log, "binary logging was on and is off"),
        (another_binary_log, "the binary log was binlog.000002, is other.000001"),
    ],
)
def test_another_history_is_noticed(subject: Subject, change: Callable[[Subject], None], words: str) -> None:
    subject.server.execute("FLUSH BINARY LOGS")
    parent = subject.agent.backup()["id"]
    change(subject)
    subject.refuses_an_incremental("lineage_changed", parent, words)


def test_files_put_back_in_place_are_noticed_by_the_binary_log(subject: Subject) -> None:
    subject.server.stop()
    earlier = subject.copy()
    subject.restart()
    for _ in range(5):
        subject.write(1)
    subject.agent.backup()
    subject.server.stop()
    subject.put_back(earlier)
    subject.restart()
    subject.write(2000)
    subject.refuses_an_incremental("lineage_changed", "GTIDs of 0-1 that the parent knows are gone")


def test_files_put_back_in_place_are_noticed_by_a_lower_lsn(subject: Subject) -> None:
    subject.restart(options=("skip-log-bin",))
    subject.server.stop()
    earlier = subject.copy()
    subject.restart(options=("skip-log-bin",))
    subject.write(2000)
    parent = subject.agent.backup()["id"]
    subject.server.stop()
    subject.put_back(earlier)
    subject.restart(options=("skip-log-bin",))
    subject.refuses_an_incremental("lsn_behind_parent", parent, "the server is at LSN", "before LSN")

"""DDL that meets a backup at a known moment: it is taken once more, and restores to the tables of the server."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.agent import Agent, Outcome
from tests.e2e.judging import broken_tables, contents, serving
from tests.faults.agents import STALLS_ARE_WANTED, Running
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_USER, PrivateMariaDB

pytestmark = pytest.mark.server

SMALL = {"stream": {"chunk_mib": 1, "memory_mib": 4}}


@pytest.fixture
def shop(mariadb: PrivateMariaDB) -> PrivateMariaDB:
    mariadb.execute(
        "CREATE DATABASE shop",
        "CREATE DATABASE gone",
        "CREATE TABLE shop.big (id INT PRIMARY KEY, filler LONGBLOB) ENGINE=InnoDB",
        "CREATE TABLE shop.notes (id INT PRIMARY KEY, what VARCHAR(9)) ENGINE=MyISAM",
        "INSERT INTO shop.notes VALUES (1, 'a note')",
        "CREATE TABLE shop.t ENGINE=MyISAM SELECT seq AS id, 't' AS what FROM mysql.seq_1_to_100",
        "CREATE TABLE shop.u ENGINE=MyISAM SELECT seq AS id, 'u' AS what FROM mysql.seq_1_to_50",
        "CREATE TABLE shop.a ENGINE=Aria SELECT seq AS id, 'a' AS what FROM mysql.seq_1_to_500",
        "DELETE FROM shop.a WHERE id % 2",
        "CREATE TABLE shop.i ENGINE=InnoDB SELECT seq AS id, 'i' AS what FROM mysql.seq_1_to_50",
        "CREATE TABLE shop.j ENGINE=InnoDB SELECT seq AS id, 'j' AS what FROM mysql.seq_1_to_100",
        "CREATE TABLE gone.i ENGINE=InnoDB SELECT seq AS id FROM mysql.seq_1_to_50",
    )
    return mariadb


SENDING = {"sock_alloc_send_pskb", "sock_wait_for_wmem", "unix_stream_sendmsg"}
"""Where the kernel has one wait that has filled a socket."""


def write_more_than_can_be_on_its_way(server: PrivateMariaDB) -> None:
    """Into tables, not into the log: what the log has is copied before them."""
    server.execute("INSERT INTO shop.big SELECT seq, REPEAT(MD5(seq), 50000) FROM mysql.seq_1_to_30")
    server.stop()
    server.start()


def backup_that_meets(ddl: list[str], agent: Agent, server: PrivateMariaDB, *arguments: str) -> Outcome:
    """The DDL comes once the engine notes DDL, while it waits, amid InnoDB's files, for somebody to read its stream.

    That nobody reads it is certain before it begins: until then it waits for another backup's end.
    """
    with another_backup(server) as end_it, Running(agent, "run-once", "--json", *arguments) as running:
        until(lambda: waits_to_begin(server), "the engine at BACKUP STAGE START")
        running.send(signal.SIGSTOP)
        end_it()
        until(lambda: waits_for_a_reader(running.pid), "the engine to have written all it can")
        server.execute(*ddl)
        running.send(signal.SIGCONT)
        return running.end()


@contextmanager
def another_backup(server: PrivateMariaDB) -> Iterator[Callable[[], object]]:
    """It has begun, and does nothing: who begins another one waits until the yielded function is called."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BACKUP STAGE START")
        yield lambda: cursor.execute("BACKUP STAGE END")


def waits_to_begin(server: PrivateMariaDB) -> bool:
    return bool(
        server.query(
            "SELECT 1 FROM information_schema.PROCESSLIST WHERE user = %s AND info = 'BACKUP STAGE START'",
            (AGENT_USER,),
        )
    )


def waits_for_a_reader(agent: int) -> bool:
    """Whether a thread of a process that the agent has started can't write because too much is on its way."""
    children = [
        int(pid) for task in Path(f"/proc/{agent}/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    return any(where_it_waits(thread) in SENDING for pid in children for thread in Path("/proc").glob(f"{pid}/task/*"))


def where_it_waits(thread: Path) -> str:
    try:
        return (thread / "wchan").read_text()
    except OSError:  # it has ended since it was listed
        return ""


def taken_once_more(outcome: Outcome) -> str:
    """Why the first attempt was not enough; the second one must have been."""
    assert outcome.status == 0, outcome.stderr
    (notice,) = [line["notice"] for line in outcome.log if "once more" in line.get("notice", "")]
    return str(notice)


def assert_restores_to(server: PrivateMariaDB, agent: Agent, outcome: Outcome, target: Path) -> None:
    agent.restore(outcome.json["backup"]["id"], target)
    with serving(target) as restored:
        assert broken_tables(restored) == []
        assert contents(restored, "shop") == contents(server, "shop")
        assert contents(restored, "gone") == contents(server, "gone")


@pytest.mark.parametrize(
    ("doubted", "ddl"),
    [
        ("shop/t: ", ["RENAME TABLE shop.t TO shop.s, shop.u TO shop.t, shop.s TO shop.u"]),
        ("shop/t: ", ["CREATE OR REPLACE TABLE shop.t ENGINE=MyISAM SELECT 7 AS id, 'anew' AS what"]),
        ("gone/i: ", ["DROP DATABASE gone", "CREATE DATABASE gone", "CREATE TABLE gone.i (id INT) ENGINE=InnoDB"]),
    ],
    ids=["tables exchanged", "a table made anew", "a database made anew"],
)
def test_a_backup_that_ddl_would_have_spoilt_is_taken_once_more(
    tmp_path: Path, shop: PrivateMariaDB, doubted: str, ddl: list[str]
) -> None:
    """The stock tools say OK to each of these, and prepare them, without the tables or with each other's rows."""
    agent = Agent(tmp_path / "agent", shop, extra=SMALL)
    write_more_than_can_be_on_its_way(shop)
    taken = backup_that_meets(ddl, agent, shop)
    assert doubted in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")


def test_an_aria_table_that_is_renamed_before_the_engine_opens_it_is_noticed(
    tmp_path: Path, shop: PrivateMariaDB
) -> None:
    """The stock tool has listed it, finds it gone, and says OK. It may also list it later, with its new name, when the
    thread that lists is the one that has to wait; then nothing is spoilt, and the table is renamed during another one.
    """
    agent = Agent(tmp_path / "agent", shop, extra=SMALL)
    write_more_than_can_be_on_its_way(shop)
    for number in range(20):
        taken = backup_that_meets([f"RENAME TABLE shop.a{number or ''} TO shop.a{number + 1}"], agent, shop)
        assert taken.status == 0, taken.stderr
        if "once more" in taken.stderr:
            break
    assert "shop/a" in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")


def test_a_database_that_comes_and_goes_does_not_hide_other_ddl(tmp_path: Path, shop: PrivateMariaDB) -> None:
    """The stock tool finds no db.opt of it, gives up repeating DDL there, leaves out the rest, and says OK."""
    agent = Agent(tmp_path / "agent", shop, extra=SMALL)
    write_more_than_can_be_on_its_way(shop)
    swap = "RENAME TABLE shop.t TO shop.s, shop.same TO shop.t, shop.s TO shop.same"
    shop.execute("CREATE TABLE shop.same ENGINE=MyISAM SELECT seq AS id, 's' AS what FROM mysql.seq_1_to_100")
    taken = backup_that_meets(["CREATE DATABASE passing", "DROP DATABASE passing", swap], agent, shop)
    assert "has not repeated on its copies all DDL that met them: " in taken_once_more(taken)
    assert "Failed to re-copy ./passing/db.opt." in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")


MADE_SINCE = [
    "CREATE TABLE shop.made ENGINE=InnoDB SELECT seq AS id, 'made' AS what FROM mysql.seq_1_to_60",
    "CREATE TABLE shop.first ENGINE=InnoDB SELECT seq AS id, 'first' AS what FROM mysql.seq_1_to_70",
    "RENAME TABLE shop.first TO shop.second",
    "TRUNCATE TABLE shop.i",
    "INSERT INTO shop.i VALUES (1, 'n')",
    "ALTER TABLE shop.j ADD COLUMN more INT DEFAULT 5, ALGORITHM=COPY",
    "DROP TABLE gone.i",
    "CREATE TABLE gone.i (id INT) ENGINE=InnoDB",
    "INSERT INTO gone.i VALUES (7)",
]
"""While the server writes no checkpoint, the engine takes these from its log, and copies them as new tables."""


def test_innodb_tables_made_before_an_incremental_are_no_reason_to_take_it_again(
    tmp_path: Path, shop: PrivateMariaDB
) -> None:
    agent = Agent(tmp_path / "agent", shop, extra={**SMALL, "locks": STALLS_ARE_WANTED})
    agent.backup()
    shop.execute(*MADE_SINCE)
    for number in (1, 2):  # the second one's parent has them all
        taken = incremental_that_meets_pages_of(["shop.made", "shop.i", "shop.j", "gone.i"], agent, shop)
        assert taken.status == 0, taken.stderr
        assert [line["notice"] for line in taken.log if "once more" in line.get("notice", "")] == []
        assert_restores_to(shop, agent, taken, tmp_path / f"restored {number}")


def test_an_innodb_table_of_the_parent_that_was_renamed_before_an_incremental_is_noticed(
    tmp_path: Path, shop: PrivateMariaDB
) -> None:
    """The stock tool says OK, and can't prepare it."""
    agent = Agent(tmp_path / "agent", shop, extra={**SMALL, "locks": STALLS_ARE_WANTED})
    agent.backup()
    shop.execute("RENAME TABLE shop.i TO shop.k")
    taken = incremental_that_meets_pages_of(["shop.k"], agent, shop)
    assert "shop/k: it was renamed before the engine had opened it" in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")


def incremental_that_meets_pages_of(tables: list[str], agent: Agent, server: PrivateMariaDB) -> Outcome:
    """The server writes them when the engine has been through InnoDB's files, and has not copied new ones yet."""
    with notes_are_written(server) as release, Running(agent, "run-once", "--json", "--incremental") as running:
        running.await_word("backup.progress", phase="blocking")
        server.execute(*(word for table in tables for word in (f"FLUSH TABLES {table} FOR EXPORT", "UNLOCK TABLES")))
        release()
        return running.end()


def test_innodb_tables_exchanged_during_an_incremental_are_noticed(tmp_path: Path, shop: PrivateMariaDB) -> None:
    """The stock tool says OK, and can't prepare it; during a full it can."""
    agent = Agent(tmp_path / "agent", shop, extra=SMALL)
    agent.backup()
    write_more_than_can_be_on_its_way(shop)
    swap = ["RENAME TABLE shop.i TO shop.s, shop.j TO shop.i, shop.s TO shop.j"]
    taken = backup_that_meets(swap, agent, shop, "--incremental")
    assert "shop/i: it was renamed to shop/j" in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")


@pytest.mark.parametrize("statement", ["TRUNCATE TABLE shop.a", "OPTIMIZE TABLE shop.a"])
def test_a_table_emptied_or_rebuilt_after_it_was_copied_is_noticed(
    tmp_path: Path, shop: PrivateMariaDB, statement: str
) -> None:
    """The stock tool notices neither: it restores rows that were gone, or an index that does not fit Aria's log."""
    agent = Agent(tmp_path / "agent", shop, extra={**SMALL, "locks": STALLS_ARE_WANTED})
    with notes_are_written(shop) as release, Running(agent, "run-once", "--json") as running:
        running.await_word("backup.progress", phase="blocking")
        shop.execute(statement, "INSERT INTO shop.a VALUES (1001, 'b'), (1002, 'b')")
        release()
        taken = running.end()
    assert "shop/a: " in taken_once_more(taken)
    assert_restores_to(shop, agent, taken, tmp_path / "restored")

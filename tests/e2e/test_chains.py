"""A chain of a full backup and ten incrementals, taken between and under writes: each restores to what there was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.agent import Agent
from tests.e2e import zoo
from tests.e2e.judging import broken_tables, contents, definitions, serving
from tests.e2e.load import (
    ACCOUNTS,
    BALANCE,
    Load,
    create_accounts,
    create_numbered_rows,
    gaps,
    numbered_rows,
    total_amount,
    transfers,
)
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

LINKS = 11
UNDER_LOAD = {2, 4, 7, 9}
"""Links whose backup was taken while rows were written: what they must hold is known of the tables at rest only."""
AT_REST = "zoo"
WRITTEN = {"busy.innodb": "ENGINE=InnoDB", "busy.myisam": "ENGINE=MyISAM", "busy.aria": "ENGINE=Aria"}


@dataclass(frozen=True)
class State:
    """What a server holds, as far as it can be compared."""

    rows: dict[str, tuple[int, int | None]]
    tables: dict[str, str]
    databases: list[str]
    files: list[str]
    users: list[tuple[Any, ...]]
    view: list[tuple[Any, ...]]
    generated: list[tuple[Any, ...]]
    """CHECKSUM TABLE differs after each restart for tables with generated columns, restored or not."""
    history: list[tuple[Any, ...]]

    @classmethod
    def of(cls, server: PrivateMariaDB) -> State:
        rows = contents(server, AT_REST)
        del rows["zoo.generated"]
        return cls(
            rows=rows,
            tables=definitions(server, AT_REST),
            databases=sorted(str(row[0]) for row in server.query("SHOW DATABASES")),
            files=sorted(path.name for path in (server.datadir / AT_REST).iterdir()),
            users=server.query("SELECT * FROM mysql.global_priv ORDER BY user, host"),
            view=server.query("SELECT * FROM zoo.overview"),
            generated=server.query("SELECT * FROM zoo.generated ORDER BY id"),
            history=server.query("SELECT * FROM zoo.versioned FOR SYSTEM_TIME ALL ORDER BY id, data"),
        )


@dataclass(frozen=True)
class Link:
    backup: dict[str, Any]
    state: State


@dataclass(frozen=True)
class ChainOfEleven:
    agent: Agent
    links: list[Link]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainOfEleven]:
    base = tmp_path_factory.mktemp("chain")
    with PrivateMariaDB(base / "mariadb") as server:
        create_agent_user(server)
        agent = Agent(base / "agent", server, extra={"stream": {"chunk_mib": 1, "memory_mib": 4}})
        zoo.create(server)
        server.execute("CREATE DATABASE busy")
        server.execute(*(create_numbered_rows(table, options) for table, options in WRITTEN.items()))
        server.execute(*create_accounts("busy.one"), *create_accounts("busy.other"))
        yield ChainOfEleven(agent, [take_link(agent, server, number) for number in range(LINKS)])


def take_link(agent: Agent, server: PrivateMariaDB, number: int) -> Link:
    zoo.change(server, number)
    state = State.of(server)
    arguments = ("--incremental",) if number else ()
    if number in UNDER_LOAD:
        writers = [numbered_rows(table, 1, pause=0.002) for table in WRITTEN]
        with Load(server, *writers, transfers("busy.one", "busy.other", number)):
            return Link(agent.backup(*arguments), state)
    return Link(agent.backup(*arguments), state)


def test_each_incremental_continues_the_one_before_it(chain: ChainOfEleven) -> None:
    ids = [link.backup["id"] for link in chain.links]
    assert [link.backup["parent_id"] for link in chain.links] == [None, *ids[:-1]]
    shown = chain.agent.run("show", ids[-1], "--json").json["backup"]
    assert shown["chain"] == ids


@pytest.mark.parametrize("number", [0, 1, 4, 7, 10])
def test_a_link_restores_to_what_the_server_held_then(chain: ChainOfEleven, tmp_path: Path, number: int) -> None:
    link = chain.links[number]
    restored = chain.agent.restore(link.backup["id"], tmp_path / "restored")
    assert len(restored["chain"]) == number + 1
    with serving(tmp_path / "restored") as server:
        assert broken_tables(server) == []
        assert State.of(server) == link.state
        for table in WRITTEN:
            assert gaps(server, table) == []
        assert total_amount(server, "busy.one", "busy.other") == 2 * ACCOUNTS * BALANCE
        assert_alive(server)


def assert_alive(server: PrivateMariaDB) -> None:
    """Triggers, procedures, generated columns, sequences and the users work."""
    before = server.query("SELECT COUNT(*) FROM zoo.audit")[0][0]
    server.execute("INSERT INTO zoo.innodb VALUES (-1, 'after the restore', 0)")
    assert server.query("SELECT COUNT(*) FROM zoo.audit")[0][0] == before + 1
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CALL zoo.count_up(@amount)")
        cursor.execute("SELECT @amount = COUNT(*) FROM zoo.innodb")
        assert cursor.fetchall() == ((1,),)
    assert server.query("SELECT id FROM zoo.generated WHERE text = 'row 50'") == [(50,)]
    assert server.query("SELECT id FROM zoo.words WHERE MATCH (words) AGAINST ('word50')") == [(50,)]
    server.connect(AGENT_USER, AGENT_PASSWORD).close()


def test_a_restored_server_begins_a_new_lineage(chain: ChainOfEleven, tmp_path: Path) -> None:
    base = chain.links[0].backup["id"]
    chain.agent.restore(base, tmp_path / "restored")
    with serving(tmp_path / "restored") as server:
        agent = Agent(
            tmp_path / "agent", server, instance_id=chain.agent.instance_id, store_url=chain.agent.store.as_uri()
        )

        refused = agent.run("run-once", "--json", "--parent", base)
        assert (refused.status, refused.error["code"]) == (4, "lineage_changed")

        full = agent.backup()
        server.execute("CREATE TABLE zoo.after_restore ENGINE=InnoDB SELECT 1 AS one")
        incremental = agent.backup("--incremental")
        assert incremental["parent_id"] == full["id"]
        expected = State.of(server)
    agent.restore(incremental["id"], tmp_path / "again")
    with serving(tmp_path / "again") as server:
        assert State.of(server) == expected

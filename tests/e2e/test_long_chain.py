"""A full backup and thirty incrementals, taken while rows are written: each can be served, and they are equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from backup_agent.domain.verification import Level, Verification
from tests.agent import Agent
from tests.e2e.in_process import SMALL_INSTANCE, SMALL_SERVER, scratch_directory, take_backups, verify_here
from tests.e2e.judging import broken_tables, contents, serving
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
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]
"""Five and a half minutes on two busy cores: 31 backups, then 31 servers, then two restores."""

INCREMENTALS = 30
STEADY = {"steady.innodb": "InnoDB", "steady.myisam": "MyISAM", "steady.aria": "Aria"}
"""Changed between backups alone, so that what each must hold is known."""
WRITTEN = {"busy.innodb": "ENGINE=InnoDB", "busy.myisam": "ENGINE=MyISAM", "busy.aria": "ENGINE=Aria"}
RESTORED = (7, INCREMENTALS)


@dataclass(frozen=True)
class LongChain:
    agent: Agent
    ids: list[str]
    states: list[dict[str, tuple[int, int | None]]]
    """Of the steady tables, when each backup was taken."""
    written: int
    """Rows that were in the busy InnoDB table at the end of the last backup."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongChain]:
    base = tmp_path_factory.mktemp("long-chain")
    with scratch_directory() as scratch, PrivateMariaDB(base / "mariadb", extra_options=SMALL_INSTANCE) as server:
        create_agent_user(server)
        agent = Agent(
            base / "agent",
            server,
            extra={
                "stream": {"chunk_mib": 4, "memory_mib": 32},
                "verify": {
                    "scratch_dir": str(scratch),
                    "buffer_pool_mib": 16,
                    "server_args": SMALL_SERVER,
                    "nice": 0,
                    "ionice": "none",
                },
                "engine": {"prepare_memory_mib": 16},
                "locks": {"on_blocker": "wait"},
            },
        )
        server.execute("CREATE DATABASE steady", "CREATE DATABASE busy", "DROP DATABASE sys")
        server.execute(
            *(
                f"CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, what CHAR(100), KEY (what)) ENGINE={engine}"
                for table, engine in STEADY.items()
            )
        )
        server.execute(*(create_numbered_rows(table, options) for table, options in WRITTEN.items()))
        server.execute(*create_accounts("busy.one"), *create_accounts("busy.other"))
        ids, states = [], []
        writers = [numbered_rows(table, 1, pause=0.02) for table in WRITTEN]
        with (
            Load(server, *writers, transfers("busy.one", "busy.other", 5)),
            closing(take_backups(agent)) as backups,
        ):
            for number in range(INCREMENTALS + 1):
                change(server, number)
                states.append(contents(server, "steady"))
                ids += [backup["id"] for backup in islice(backups, 1)]
            written = server.query("SELECT COUNT(*) FROM busy.innodb")[0][0]
        yield LongChain(agent, ids, states, written)


def change(server: PrivateMariaDB, number: int) -> None:
    for table in STEADY:
        server.execute(
            f"INSERT INTO {table} (what) SELECT CONCAT('row {number} ', SHA1(seq)) FROM mysql.seq_1_to_40",
            f"UPDATE {table} SET what = CONCAT(what, '.') WHERE id % 31 = {number}",
            f"DELETE FROM {table} WHERE id % 29 = {number} AND id % 2 = 0",
        )
    server.execute(f"CREATE TABLE steady.new_{number} ENGINE=InnoDB SELECT {number} AS one")
    if number > 1:
        server.execute(f"DROP TABLE steady.new_{number - 2}")


def test_each_incremental_continues_the_one_before_it(chain: LongChain) -> None:
    assert len(chain.ids) == INCREMENTALS + 1
    assert chain.agent.run("show", chain.ids[-1], "--json").json["backup"]["chain"] == chain.ids


@pytest.fixture(scope="module")
def verified(chain: LongChain) -> tuple[Verification, ...]:
    return verify_here(chain.agent, chain.ids[-1], Level.RESTORE, each=True)


def test_each_of_its_backups_can_be_served_with_all_tables_in_order(
    chain: LongChain, verified: tuple[Verification, ...]
) -> None:
    assert [one.backup_id for one in verified] == chain.ids
    assert [list(one.faults) for one in verified] == [[] for _ in chain.ids]
    assert all(one.passed and one.level is Level.RESTORE and one.unchecked == () for one in verified)
    assert [one.chain for one in verified] == [tuple(chain.ids[: number + 1]) for number in range(len(chain.ids))]
    assert all(one.figures.tables is not None and one.figures.tables > 30 for one in verified)


def test_each_backup_is_shown_with_its_own_result(chain: LongChain, verified: tuple[Verification, ...]) -> None:
    listed = chain.agent.run("list", "--json").json["backups"]
    assert {one["id"]: one["verified_at"] for one in listed} == {one.backup_id: one.time[:19] for one in verified}


@pytest.mark.parametrize("number", RESTORED)
def test_it_restores_to_what_the_server_held(chain: LongChain, tmp_path: Path, number: int) -> None:
    restored = chain.agent.restore(chain.ids[number], tmp_path / "restored")
    assert len(restored["chain"]) == number + 1
    with serving(tmp_path / "restored") as server:
        assert broken_tables(server) == []
        assert contents(server, "steady") == chain.states[number]
        assert [gaps(server, table) for table in WRITTEN] == [[], [], []]
        assert total_amount(server, "busy.one", "busy.other") == 2 * ACCOUNTS * BALANCE
        assert 0 < server.query("SELECT COUNT(*) FROM busy.innodb")[0][0] <= chain.written

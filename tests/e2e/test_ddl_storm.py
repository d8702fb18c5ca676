"""A storm of DDL while backups are taken: one that is COMPLETED restores, to the server's tables; all others FAILED."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agent import Agent
from tests.e2e.judging import broken_tables, serving
from tests.e2e.load import (
    ACCOUNTS,
    BALANCE,
    Load,
    Storm,
    create_accounts,
    create_numbered_rows,
    gaps,
    numbered_rows,
    total_amount,
    transfers,
)
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

DDL_CODES = {"ddl_during_backup", "stream_not_extractable"}

ROUNDS = (
    # Seconds that each of two threads pauses after a few statements, and what its tables may be.
    (1.0, Storm.OPTIONS),
    (0.3, Storm.OPTIONS),
    (0.0, Storm.INNODB),
    (0.1, Storm.OPTIONS),
    (0.0, Storm.OPTIONS),
    (0.5, Storm.OPTIONS),
)
BACKUPS_PER_ROUND = 4
STABLE = {
    "stable.innodb": "ENGINE=InnoDB",
    "stable.myisam": "ENGINE=MyISAM",
    "stable.aria": "ENGINE=Aria TRANSACTIONAL=1",
    "stable.plain_aria": "ENGINE=Aria TRANSACTIONAL=0",
}


@dataclass(frozen=True)
class Taken:
    """How a backup ended, and how many rows each stable table had before it and after it."""

    kind: str
    outcome: str
    backup_id: str
    before: dict[str, int]
    after: dict[str, int]


@pytest.mark.storm
@pytest.mark.timeout(1200)
def test_under_a_storm_of_ddl_every_completed_backup_restores(tmp_path: Path, mariadb: PrivateMariaDB) -> None:
    agent = Agent(tmp_path / "agent", mariadb, extra={"stream": {"chunk_mib": 4, "memory_mib": 32}})
    mariadb.execute("CREATE DATABASE stable", *[create_numbered_rows(*table) for table in STABLE.items()])
    mariadb.execute(*create_accounts("stable.one"), *create_accounts("stable.other"))
    storm = Storm()
    storm.create(mariadb)

    taken: list[Taken] = []
    for number, (pause, options) in enumerate(ROUNDS):
        workers = [storm.worker(10 * number + thread, options, pause=pause) for thread in range(2)]
        writers = [numbered_rows(table, 1, pause=0.01) for table in STABLE]
        with Load(mariadb, *workers, *writers, transfers("stable.one", "stable.other", number)):
            taken += take_round(agent, mariadb)

    while {one.kind for one in taken if one.backup_id} != {"full", "incremental"}:
        # On a slow host no backup may be over between two statements of DDL. Then a calm has to follow.
        with Load(mariadb, *[numbered_rows(table, 1, pause=0.01) for table in STABLE]):
            taken += take_round(agent, mariadb)

    counts = Counter(f"{one.kind} {one.outcome}" for one in taken)
    print(f"\n{sum(storm.done.values())} statements of DDL; backups: {dict(sorted(counts.items()))}")  # noqa: T201 - asked for
    completed = [one for one in taken if one.backup_id]
    assert {one.outcome for one in taken} <= {"COMPLETED", *DDL_CODES}
    assert {one["id"] for one in agent.run("list", "--json").json["backups"]} == {one.backup_id for one in completed}
    for one in completed:
        target = tmp_path / one.backup_id
        agent.restore(one.backup_id, target)
        with serving(target) as restored:
            assert_whole(restored, one)


def take_round(agent: Agent, server: PrivateMariaDB) -> Iterator[Taken]:
    """A full, and then incrementals of the newest; fulls for as long as there is none."""
    parent = ""
    for _ in range(BACKUPS_PER_ROUND):
        before = rows(server)
        outcome = agent.run("run-once", "--json", *(["--parent", parent] if parent else []))
        kind = "incremental" if parent else "full"
        if outcome.status == 0:
            parent = outcome.json["backup"]["id"]
            yield Taken(kind, "COMPLETED", parent, before, rows(server))
        else:
            print(f"\n{kind}: {outcome.error['event'][:300]}")  # noqa: T201 - the reasons are worth seeing
            yield Taken(kind, outcome.error["code"], "", before, {})


def rows(server: PrivateMariaDB) -> dict[str, int]:
    return {table: server.query(f"SELECT COUNT(*) FROM {table}")[0][0] for table in STABLE}


def assert_whole(restored: PrivateMariaDB, taken: Taken) -> None:
    assert broken_tables(restored) == []
    found = rows(restored)
    for table in STABLE:
        assert gaps(restored, table) == []
        assert taken.before[table] <= found[table] <= taken.after[table]
    assert total_amount(restored, "stable.one", "stable.other") == 2 * ACCOUNTS * BALANCE

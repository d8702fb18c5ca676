"""A small shop that most faults befall, and its agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.agents import ConfinedAgent
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

CREATE_SHOP = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(1024)) ENGINE=InnoDB",
    "CREATE TABLE shop.notes (id INT PRIMARY KEY AUTO_INCREMENT, what VARBINARY(1024)) ENGINE=MyISAM",
    "INSERT INTO shop.orders (what) SELECT RANDOM_BYTES(1024) FROM mysql.seq_1_to_4000",
    "INSERT INTO shop.notes (what) SELECT RANDOM_BYTES(1024) FROM mysql.seq_1_to_1000",
)
"""Some 5 MB that can't be compressed, so several chunks of 1 MiB."""


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """One server for all tests that leave it able to serve."""
    with PrivateMariaDB(tmp_path_factory.mktemp("shop")) as server:
        create_agent_user(server)
        server.execute(*CREATE_SHOP)
        yield server


@pytest.fixture
def agent(tmp_path: Path, shop: PrivateMariaDB) -> ConfinedAgent:
    """Of the shop, with a store of its own and chunks of 1 MiB."""
    return ConfinedAgent(tmp_path / "agent", shop)

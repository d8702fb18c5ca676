from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.mariadb import parse_lsn


def test_an_endpoint_never_shows_its_password() -> None:
    endpoint = Endpoint(Path("/run/mysqld/mysqld.sock"), password="hunter2")
    assert "hunter2" not in f"{endpoint} {endpoint!r}"


def test_an_endpoint_says_where_it_is() -> None:
    assert Endpoint(Path("/run/m.sock")).place == "the socket /run/m.sock"
    assert Endpoint(None, "127.0.0.1", 3307).place == "127.0.0.1:3307"


def test_the_lsn_is_read_from_innodb_s_monitor() -> None:
    assert parse_lsn("---\nLOG\n---\nLog sequence number          28463721\nLog flushed up to 7\n") == 28463721


def test_a_monitor_without_an_lsn_is_an_error() -> None:
    with pytest.raises(InstanceError) as caught:
        parse_lsn("")
    assert caught.value.code is ErrorCode.DATABASE_UNREACHABLE
